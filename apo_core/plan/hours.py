"""Hours of a whole run, stage by stage: `seconds` applied to a configuration, with the reasoning."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from apo_core.plan.deepspeed_memory import checkpoint_bytes
from apo_core.plan.hardware import Machine, Rates
from apo_core.plan.items import BYTES
from apo_core.plan.model_shape import ModelShape
from apo_core.plan.seconds import (
    Decoding,
    Lengths,
    Shares,
    Update,
    decode_seconds,
    gather_seconds,
    lengths_of,
    optimizer_seconds,
    prefill_seconds,
    reduce_seconds,
    shares_of,
    update_seconds,
)

IMPORT_SECONDS = 25.0  # of a process with torch, transformers and DeepSpeed, and NCCL's first meeting
# vLLM's start beside reading the weights: compilation and graphs; without them, and on CPU.
VLLM_SECONDS = {"compiled": 90.0, "eager": 40.0}
# Sleep and wake up: pages are given back and mapped again, about a second each (vLLM's post on sleep mode,
# 2025-10: 0.1 to 0.8 s to wake, some seconds with weights to copy), and the comparison of log-probs.
SLEEP_SECONDS = 2.0
_EXCHANGE_SECONDS = 0.5  # the same without sleep
_HOST_LINK = 25e9  # bytes per second between a GPU and the host's memory, PCIe 4.0 x16 as reached
_HOST_BANDWIDTH = 50e9  # of the host's memory, where offloaded moments are stepped


class Part(NamedTuple):
    """A part of a stage, what it takes in all, and why."""

    stage: str
    name: str
    seconds: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class SamplerShape:
    """An engine that samples: vLLM, or transformers."""

    vllm: bool
    slots: int  # responses at once
    gpus: int = 1  # that a model is spread over
    eager: bool = False


@dataclass(frozen=True, kw_only=True)
class RunShape:
    """What decides how long a run takes."""

    model: ModelShape
    prompt_tokens: float  # mean
    response_tokens: float  # mean
    max_new_tokens: int
    score_seconds: float  # of one response, by one worker of the verifier
    score_workers: int
    # stage sample
    prompts: int
    n: float  # responses per prompt
    shard_prompts: int
    workers: int  # no more than there are GPUs for
    sampling_dtype: str
    sampler: SamplerShape
    # stage train
    steps: int
    batch_size: int  # prompts per step
    responses: int  # per prompt
    epochs: int
    minibatches: int
    reference: bool
    recorded: bool
    critic: bool
    lagging_every: int | None
    trained: int  # parameters
    lora: bool
    dtype: str
    ranks: int
    zero_stage: int
    offload: str
    checkpointing: bool
    micro_batch_tokens: int
    train_sampler: SamplerShape
    sleeps: bool
    checkpoint_every: int
    # stage evaluate
    eval_prompts: int
    eval_samples: int
    eval_shard_prompts: int
    evaluation_dtype: str

    @property
    def lengths(self) -> Lengths:
        """Of the responses."""
        return lengths_of(self.response_tokens, self.max_new_tokens)

    @property
    def rank_rows(self) -> float:
        """Responses that a rank samples and learns from in a step."""
        return self.batch_size / self.ranks * self.responses


def plan_hours(run: RunShape, machine: Machine) -> list[Part]:
    """List the parts of stages sample, train and evaluate, in their order.

    Args:
        run: what is run.
        machine: on which.

    Returns:
        Parts whose seconds add up to the run's. Preparation of the prompts, Prefect's and DVC's work between
        stages, and a champion's evaluation are not among them.
    """
    shares = shares_of(machine.gpus > 0)
    return [*_sample(run, machine, shares), *_train(run, machine, shares), *_evaluate(run, machine, shares)]


def step_seconds(parts: list[Part], steps: int) -> float:
    """Seconds of one step of training, without the stage's start and the checkpoints."""
    once = ("start", "checkpoints")
    return sum(part.seconds for part in parts if part.stage == "train" and part.name not in once) / steps


def _sample(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    workers = run.workers
    rates = _spread(machine.rates_of(workers), run.sampler)
    shards = ceil(run.prompts / run.shard_prompts)
    rounds = ceil(shards / workers)
    prompts = run.prompts / shards
    decoding = _decoding(run, run.sampler, prompts * run.n)
    prefill = rounds * prefill_seconds(
        run.model, prompts, run.prompt_tokens, rates, run.sampling_dtype, shares
    )
    decode = rounds * decode_seconds(run.model, decoding, rates, run.sampling_dtype, shares)
    responses = run.prompts * run.n
    scoring = responses * run.score_seconds / (run.score_workers * workers)
    tokens = responses * run.response_tokens
    return [
        _start("sample", run, run.sampler, machine, engines=1),
        Part(
            "sample",
            "prompts",
            prefill,
            f"{run.prompts:,} prompts of {run.prompt_tokens:.0f} tokens, read once",
        ),
        Part(
            "sample",
            "responses",
            decode,
            f"{run.prompts:,} x {run.n:g} responses of {run.response_tokens:.0f} tokens, {tokens / 1e6:,.1f} "
            f"M, by {workers} workers, {decoding.slots:.0f} at once: {tokens / decode:,.0f} tokens/s",
        ),
        Part(
            "sample",
            "scoring beyond it",
            max(0.0, scoring - prefill - decode),
            f"{responses:,.0f} responses, {run.score_seconds * 1e3:.0f} ms by {run.score_workers} processes "
            "of each worker, while others are sampled",
        ),
    ]


def _train(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    parts = [
        *_rollout(run, machine, shares),
        *_learning(run, machine, shares),
        *_communication(run, machine),
    ]
    return [
        _start("train", run, run.train_sampler, machine, engines=1),
        *(_of_all_steps(part, run.steps) for part in parts),
        _checkpoints(run, machine),
    ]


def _of_all_steps(part: Part, steps: int) -> Part:
    reason = f"{steps:,} x {part.seconds:.2f} s: {part.reason}"
    return Part(part.stage, part.name, steps * part.seconds, reason)


def _rollout(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """One step's, on a rank; ranks sample at the same time."""
    rates, model, size = machine.rates_of(run.ranks), run.model, BYTES[run.dtype]
    sampler, decoding = run.train_sampler, _decoding(run, run.train_sampler, run.rank_rows)
    prompts = run.batch_size / run.ranks
    parts = []
    if sampler.vllm:
        fixed = SLEEP_SECONDS if run.sleeps else _EXCHANGE_SECONDS
        # Read and written on the device; through the host's memory twice as often, and packed there.
        # Of adapters in bfloat16 vLLM gets them alone.
        sent = size * (run.trained if run.lora and run.dtype == "bfloat16" else model.parameters)
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


def _evaluate(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """Reference and policy alike, greedy and sampled responses together; then the KL of the policy's."""
    workers = run.workers
    rates, dtype = _spread(machine.rates_of(workers), run.sampler), run.evaluation_dtype
    shards = ceil(run.eval_prompts / run.eval_shard_prompts)
    calls, prompts = 2 * ceil(shards / workers), run.eval_prompts / shards
    decoding = _decoding(run, run.sampler, prompts * (run.eval_samples + 1))
    prefill = prefill_seconds(run.model, prompts, run.prompt_tokens, rates, dtype, shares)
    sampled = calls * (prefill + decode_seconds(run.model, decoding, rates, dtype, shares))
    responses = run.eval_prompts * (run.eval_samples + 1)
    compared = Update(
        rows=run.eval_prompts * run.eval_samples / workers,
        prompt_tokens=run.prompt_tokens,
        response_tokens=run.response_tokens,
        padding=1.0,
        epochs=0,
        checkpointing=False,
        lora=False,
        critic=False,
        reference=True,
        recorded=True,
    )
    ratios = update_seconds(run.model, compared, machine.rates_of(workers), dtype, shares)
    scoring = 2 * responses * run.score_seconds / (run.score_workers * workers)
    tokens = 2 * responses * run.response_tokens
    return [
        _start("evaluate", run, run.sampler, machine, engines=2),
        Part(
            "evaluate",
            "responses",
            max(sampled, scoring),
            f"2 x {run.eval_prompts:,} x {run.eval_samples + 1} responses, {tokens / 1e6:,.1f} M tokens, by "
            f"{workers} workers",
        ),
        Part(
            "evaluate",
            "KL",
            ratios,
            f"{run.eval_prompts * run.eval_samples:,} responses read by both models",
        ),
    ]


def _start(stage: str, run: RunShape, sampler: SamplerShape, machine: Machine, *, engines: int) -> Part:
    weights = run.model.parameters * BYTES[run.dtype]
    kind = "eager" if sampler.eager or not machine.gpus else "compiled"
    engine = VLLM_SECONDS[kind] if sampler.vllm else 0.0
    seconds = IMPORT_SECONDS + engines * (engine + 2 * weights / machine.disk)
    reason = f"imports, {weights / 1e9:.1f} GB of weights read twice"
    reason += f", {engines} x {engine:.0f} s of vLLM" if engine else ""
    return Part(stage, "start", seconds, reason)


def _decoding(run: RunShape, sampler: SamplerShape, rows: float) -> Decoding:
    return Decoding(
        rows=rows,
        slots=max(1.0, min(sampler.slots, rows)),
        prompt_tokens=run.prompt_tokens,
        lengths=run.lengths,
        vllm=sampler.vllm,
    )


def _micro_batches(run: RunShape) -> int:
    """Forward and backward passes per rank and epoch."""
    tokens = run.rank_rows * (run.prompt_tokens + run.response_tokens)
    return ceil(tokens / run.micro_batch_tokens)


def _padding(run: RunShape) -> float:
    """Rows of like length share a micro-batch: each is padded by half of what their lengths differ by."""
    lengths = run.lengths
    difference = (lengths.longest - lengths.shortest) / _micro_batches(run)
    return 1 + difference / 2 / (run.prompt_tokens + run.response_tokens)


def _spread(rates: Rates, sampler: SamplerShape) -> Rates:
    """A model over several GPUs is read and multiplied by all of them."""
    return Rates(
        float32=rates.float32 * sampler.gpus,
        bfloat16=rates.bfloat16 * sampler.gpus,
        bandwidth=rates.bandwidth * sampler.gpus,
    )
