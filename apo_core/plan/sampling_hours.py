"""Hours of stages sample and evaluate."""

from __future__ import annotations

from math import ceil

from apo_core.plan.engine_hours import decoding_of, start_part
from apo_core.plan.hardware import Machine, Rates
from apo_core.plan.run_shape import Part, RunShape, SamplerShape
from apo_core.plan.seconds import Shares, Update, decode_seconds, prefill_seconds, update_seconds


def sample_parts(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """Stage 1: responses of the reference policy, scored while others are sampled."""
    workers = run.workers
    rates = _spread(machine.rates_of(workers), run.sampler)
    shards = ceil(run.prompts / run.shard_prompts)
    rounds = ceil(shards / workers)
    prompts = run.prompts / shards
    decoding = decoding_of(run, run.sampler, prompts * run.n)
    prefill = rounds * prefill_seconds(
        run.model, prompts, run.prompt_tokens, rates, run.sampling_dtype, shares
    )
    decode = rounds * decode_seconds(run.model, decoding, rates, run.sampling_dtype, shares)
    responses = run.prompts * run.n
    scoring = responses * run.score_seconds / (run.score_workers * workers)
    tokens = responses * run.response_tokens
    return [
        start_part("sample", run, run.sampler, machine, engines=1),
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
            f"{run.prompts:,} x {run.n:.3g} responses of {run.response_tokens:.0f} tokens, "
            f"{tokens / 1e6:,.1f} M, by {workers} workers, {decoding.slots:.0f} at once: "
            f"{tokens / decode:,.0f} tokens/s",
        ),
        Part(
            "sample",
            "scoring beyond it",
            max(0.0, scoring - prefill - decode),
            f"{responses:,.0f} responses, {run.score_seconds * 1e3:.0f} ms by {run.score_workers} processes "
            "of each worker, while others are sampled",
        ),
    ]


def evaluate_parts(run: RunShape, machine: Machine, shares: Shares) -> list[Part]:
    """Reference and policy alike, greedy and sampled responses together; then the KL of the policy's."""
    workers = run.workers
    rates, dtype = _spread(machine.rates_of(workers), run.sampler), run.evaluation_dtype
    shards = ceil(run.eval_prompts / run.eval_shard_prompts)
    calls, prompts = 2 * ceil(shards / workers), run.eval_prompts / shards
    decoding = decoding_of(run, run.sampler, prompts * (run.eval_samples + 1))
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
        start_part("evaluate", run, run.sampler, machine, engines=2),
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


def _spread(rates: Rates, sampler: SamplerShape) -> Rates:
    """A model over several GPUs is read and multiplied by all of them."""
    return rates.each(lambda rate: rate * sampler.gpus)
