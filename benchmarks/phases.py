"""Where the time of stage 1 and of a stage-2 step goes, phase by phase, beside the floor of this machine.

    python -m benchmarks.phases [--shape tiny|135m] [--dtype float32|bfloat16] [--json]

Weights and prompts are random with a fixed seed; nothing is downloaded. "Of the floor" is the share of a
phase's seconds that its arithmetic and traffic have to take (`floor.py`), at rates measured in the same
process. On a shared machine compare shares, never seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from apo_core.algorithms.apo import apo_loss
from apo_core.model.acceleration import accelerate
from apo_core.model.loading import device
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import MicroBatch, pad_responses, sum_tokens
from apo_core.plan.hardware import Rates
from apo_core.plan.measuring import measure_rates
from apo_core.plan.model_shape import model_shape
from apo_core.sampling import TransformersSampler
from benchmarks.floor import Work, sampling_work, update_work
from benchmarks.ours import make_engine
from benchmarks.workload import (
    NEW_TOKENS,
    ON_CPU,
    PROMPT_TOKENS,
    PROMPTS,
    ROWS,
    SAMPLES,
    SHAPES,
    random_config,
    random_model,
    random_prompts,
)


class Phase(NamedTuple):
    """One row of the table."""

    name: str
    tokens: int  # read or sampled
    seconds: float
    floor: float  # seconds

    @property
    def share(self) -> float:
        """Of the seconds, that the floor is."""
        return self.floor / self.seconds


def main() -> None:
    """Print a table per shape and precision, or one of them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), action="append")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], action="append")
    parser.add_argument("--json", action="store_true", help="print a line of JSON per shape and precision")
    arguments = parser.parse_args()
    for shape in arguments.shape or ON_CPU:
        for dtype in arguments.dtype or ["float32"]:
            rates = measure_rates(device())
            measured = phases(shape, dtype, rates)
            print(
                json.dumps(measured) if arguments.json else "\n".join(lines_of(shape, dtype, rates, measured))
            )


def lines_of(shape: str, dtype: str, rates: Rates, measured: list[Phase]) -> list[str]:
    """Lines of text for people."""
    return [
        f"\n{shape}, {dtype}: {PROMPTS} prompts of {PROMPT_TOKENS}, {NEW_TOKENS} new tokens; "
        f"{rates.products(dtype) / 1e9:.0f} GFLOP/s, {rates.bandwidth / 1e9:.1f} GB/s",
        f"{'phase':32}{'seconds':>9}{'tokens/s':>10}{'floor, s':>10}{'of the floor':>14}",
        *(
            f"{each.name:32}{each.seconds:9.3f}{each.tokens / each.seconds:10.0f}{each.floor:10.3f}"
            f"{each.share:14.0%}"
            for each in measured
        ),
    ]


def phases(shape: str, dtype: str, rates: Rates) -> list[Phase]:
    """Measure stage 1's batch and stage 2's step once each, after a short warm-up."""
    model = random_model(shape, dtype)
    accelerate(model)
    counts = model_shape(random_config(shape))
    prompts = random_prompts(SHAPES[shape]["vocab_size"])
    # No token ends a response: every row is decoded up to the limit.
    sampler = TransformersSampler(model, eos_ids={-1}, pad_id=0, batch_size=PROMPTS * SAMPLES)
    _sampling_seconds(sampler, prompts[:1], 1, 2)
    measured = []
    for stage, samples in (("stage 1", SAMPLES), ("stage 2", 1)):
        first = _sampling_seconds(sampler, prompts, samples, 1)
        whole = _sampling_seconds(sampler, prompts, samples, NEW_TOKENS)
        work = sampling_work(counts, dtype, prompts=len(prompts), samples=samples)
        measured += _phases(stage, work, [first, whole - first], rates)
    work = update_work(counts, dtype, rows=PROMPTS, reference=dtype)
    return [*measured, *_phases("stage 2", work, _update_seconds(model, shape, dtype, prompts), rates)]


def _phases(stage: str, works: list[Work], seconds: list[float], rates: Rates) -> list[Phase]:
    return [
        Phase(name=f"{stage}: {work.name}", tokens=work.tokens, seconds=taken, floor=work.floor(rates))
        for work, taken in zip(works, seconds, strict=True)
    ]


def _sampling_seconds(sampler: TransformersSampler, prompts: list[list[int]], n: int, limit: int) -> float:
    """Seconds of `n` responses per prompt; those to the first token are the prefill's."""
    rows = [prompt for prompt in prompts for _ in range(n)]
    keys = [str(row) for row in range(len(rows))]
    return timed(lambda: sampler.generate(rows, keys, max_new_tokens=limit, temperature=1.0))


def _update_seconds(model: PreTrainedModel, shape: str, dtype: str, prompts: list[list[int]]) -> list[float]:
    """Reference log-probs, forward, backward and optimizer of one update, in micro-batches as ours."""
    frozen = random_model(shape, dtype)
    accelerate(frozen)
    reference = ResponseLogProbs(frozen, temperature=1.0)
    engine = make_engine(model, dtype)
    engine.train()
    batches = [_batch(prompts[at : at + ROWS[dtype]]) for at in range(0, PROMPTS, ROWS[dtype])]
    _update(engine, reference, batches)  # the first makes the optimizer's state
    return _update(engine, reference, batches)


def _batch(prompts: list[list[int]]) -> MicroBatch:
    return pad_responses(prompts, [prompt[:NEW_TOKENS] for prompt in prompts], pad_id=0, device=device())


def _update(engine: Any, reference: ResponseLogProbs, batches: list[MicroBatch]) -> list[float]:
    """Seconds of each phase."""
    spent = [0.0, 0.0, 0.0, 0.0]
    results: dict[str, torch.Tensor] = {}

    def compute_reference(batch: MicroBatch) -> None:
        with torch.no_grad():
            results["reference"] = sum_tokens(reference(*batch.inputs), batch.mask)

    def forward(batch: MicroBatch) -> None:
        log_probs = sum_tokens(engine(*batch.inputs), batch.mask)
        zeros = torch.zeros_like(log_probs)
        results["loss"], _ = apo_loss(log_probs, results["reference"], zeros, zeros - 1, beta2=0.001)

    for number, batch in enumerate(batches, start=1):
        engine.set_gradient_accumulation_boundary(number == len(batches))
        steps: list[Callable[[], object]] = [
            partial(compute_reference, batch),
            partial(forward, batch),
            lambda: engine.backward(results["loss"]),
            engine.step,
        ]
        for phase, step in enumerate(steps):
            spent[phase] += timed(step)
    return spent


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes until the device is done."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
