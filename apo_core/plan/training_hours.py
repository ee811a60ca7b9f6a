"""Hours of stage train."""

from __future__ import annotations

from math import ceil

from apo_core.plan.deepspeed_memory import checkpoint_bytes
from apo_core.plan.engine_hours import decoding_of, start_part
from apo_core.plan.hardware import Machine, Rates
from apo_core.plan.items import BYTES
from apo_core.plan.run_shape import Part, RunShape
from apo_core.plan.seconds import (
    Shares,
    Update,
    decode_seconds,
    gather_seconds,
    optimizer_seconds,
    prefill_seconds,
    reduce_seconds,
    update_seconds,
)

# Sleep and wake up: pages are given back and mapped again, about a second each (vLLM's post on sleep mode,
# 2025-10: 0.1 to 0.8 s to wake, some seconds with weights to copy), and the comparison of log-probs.
SLEEP_SECONDS = 2.0
_EXCHANGE_SECONDS = 0.5  # the same without sleep
_HOST_LINK = 25e9  # bytes per second between a GPU and the host's memory, PCIe 4.0 x16 as reached
_HOST_BANDWIDTH = 50e9  # of the host's memory, where offloaded moments are stepped


def train_parts(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """Rollouts, updates, what ranks exchange, and checkpoints."""
    parts = [
        *_rollout(run, machine, shares),
        *_learning(run, machine, shares),
        *_communication(run, machine),
    ]
    return [
        start_part("train", run, run.train_sampler, machine, engines=1),
        *(_of_all_steps(part, run.steps) for part in parts),
        _checkpoints(run, machine),
    ]


def _of_all_steps(part: Part, steps: int) -> Part:
    reason = f"{steps:,} x {part.seconds:.2f} s: {part.reason}"
    return Part(part.stage, part.name, steps * part.seconds, reason)


def _rollout(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """One step's, on a rank; ranks sample at the same time."""
    rates, model, size = machine.rates_of(run.ranks), run.model, BYTES[run.dtype]
    sampler, decoding = run.train_sampler, decoding_of(run, run.train_sampler, run.rank_rows)
    prompts = run.batch_size / run.ranks
    parts = []
    if sampler.vllm:
        fixed = SLEEP_SECONDS if run.sleeps else _EXCHANGE_SECONDS
        # Read and written on the device; through the host's memory twice as often, and packed there.
        sent = size * _sent_weights(run)
        seconds = fixed + sent * (2 if machine.gpus else 6) / rates.bandwidth
        how = f"{sent / 1e9:.1f} GB read and written, and {fixed:g} s of exchange"
        parts.append(Part("train", "weights to vLLM", seconds, how))
    prefill = prefill_seconds(model, prompts, run.prompt_tokens, rates, run.dtype, shares)
    decode = decode_seconds(model, decoding, rates, run.dtype, shares)
    scoring = run.rank_rows * run.score_seconds / run.score_workers
    tokens = run.rank_rows * run.response_tokens
    read = f"{prompts:.0f} prompts of {run.prompt_tokens:.0f} tokens per rank"
    decoded = (
        f"{run.rank_rows:.0f} responses of {run.response_tokens:.0f} tokens per rank, {decoding.slots:.0f} "
        f"at once: {tokens / decode:,.0f} tokens/s each"
    )
    scored = (
        f"{run.rank_rows:.0f} per rank, {run.score_seconds * 1e3:.0f} ms by {run.score_workers} processes"
    )
    return [
        *parts,
        Part("train", "prompts", prefill, read),
        Part("train", "responses", decode, decoded),
        Part("train", "scoring", scoring, scored),
    ]


def _sent_weights(run: RunShape) -> int:
    """Numbers that vLLM gets in a step: float32 adapters go merged; what is frozen is lost in its sleep."""
    if not run.lora or run.dtype != "bfloat16":
        return run.model.parameters
    return run.trained + (run.model.parameters if run.sleeps else 0)


def _learning(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """One step's passes and optimizer, on a rank."""
    rates, row = machine.rates_of(run.ranks), run.prompt_tokens + run.response_tokens
    update = Update(
        rows=run.rank_rows,
        prompt_tokens=run.prompt_tokens,
        response_tokens=run.response_tokens,
        padding=_padding(run),
        epochs=run.epochs,
        checkpointing=run.checkpointing,
        lora=run.lora,
        critic=run.critic,
        reference=run.reference,
        recorded=run.recorded,
    )
    passes = update_seconds(run.model, update, rates, run.dtype, shares)
    share = run.ranks if run.zero_stage or run.dtype == "bfloat16" else 1
    updates = run.epochs * run.minibatches
    own = updates * run.trained / share
    if run.offload == "none":
        optimizer = optimizer_seconds(own, rates)
    else:
        host = Rates(float32=1, bfloat16=1, bandwidth=_HOST_BANDWIDTH / run.ranks)
        optimizer = optimizer_seconds(own, host) + own * 2 * BYTES[run.dtype] / _HOST_LINK
    tokens = run.rank_rows * row
    per_token = passes * rates.products(run.dtype) * shares.passes / tokens / 1e9
    return [
        Part(
            "train",
            "forward and backward",
            passes,
            f"{tokens:,.0f} tokens per rank, {per_token:.1f} GFLOP each, at "
            f"{rates.products(run.dtype) * shares.passes / 1e12:.3g} TFLOP/s",
        ),
        Part("train", "optimizer", optimizer, f"{own / 1e6:,.0f} M parameters per rank, 42 bytes each"),
    ]


def _communication(run: RunShape, machine: Machine) -> list[Part]:
    """One step's traffic between ranks, as if none of it were hidden behind arithmetic."""
    size, updates = BYTES[run.dtype], run.epochs * run.minibatches
    exchanged = size if run.zero_stage >= 2 else 4  # below stage 2 the float32 sum of all micro-batches
    micro_batches = _micro_batches(run) * run.epochs
    seconds = 0.0
    if run.ranks > 1:
        reductions = micro_batches if run.zero_stage >= 2 else updates
        seconds += reductions * reduce_seconds(run.trained, exchanged, run.ranks, machine.link)
        if run.zero_stage == 3:
            passes = 2 * micro_batches + 1  # forward, backward, and whole for the rollout
            seconds += passes * gather_seconds(run.model.parameters, size, run.ranks, machine.link)
        elif run.zero_stage or run.dtype == "bfloat16":
            seconds += updates * gather_seconds(run.trained, size, run.ranks, machine.link)
    if run.offload == "all":
        seconds += 2 * micro_batches * run.model.parameters * size / run.ranks / _HOST_LINK
    if run.lagging_every is not None:
        seconds += run.model.parameters * size * 4 / machine.rates_of(run.ranks).bandwidth / run.lagging_every
    reason = f"gradients of {micro_batches} micro-batches reduced and weights gathered, nothing of it hidden"
    return [Part("train", "between ranks", seconds, reason)]


def _checkpoints(run: RunShape, machine: Machine) -> Part:
    count = ceil(run.steps / run.checkpoint_every)
    size = run.trained * checkpoint_bytes(run.dtype, run.zero_stage)
    reason = f"{count} x {size / 1e9:.1f} GB at {machine.disk / 1e9:.1f} GB/s"
    return Part("train", "checkpoints", count * size / machine.disk, reason)


def _micro_batches(run: RunShape) -> int:
    """Forward and backward passes per rank and epoch."""
    tokens = run.rank_rows * (run.prompt_tokens + run.response_tokens)
    return ceil(tokens / run.micro_batch_tokens)


def _padding(run: RunShape) -> float:
    """Rows of like length share a micro-batch: each is padded by half of what their lengths differ by."""
    lengths = run.lengths
    difference = (lengths.longest - lengths.shortest) / _micro_batches(run)
    return 1 + difference / 2 / (run.prompt_tokens + run.response_tokens)
