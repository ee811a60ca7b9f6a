"""Where the time of stage 1 and of a stage-2 step goes, relative to the processor's matrix product rate.

    python -m benchmarks.phases [--shape tiny|135m] [--dtype float32|bfloat16]

Weights and prompts are random with a fixed seed; nothing is downloaded. "of GEMM" is a phase's floating point
operations per second as a share of those of a large matrix product, measured in the same run. Only the
operations that a phase needs count; the optimizer needs hardly any. On a shared machine compare shares, never
seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from apo_core.algorithms.apo import apo_loss
from apo_core.kernels.linear import product_for
from apo_core.model.acceleration import accelerate
from apo_core.model.loading import device
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses, sum_tokens
from apo_core.sampling import TransformersSampler
from benchmarks.ours import make_engine
from benchmarks.workload import (
    DTYPES,
    NEW_TOKENS,
    PROMPT_TOKENS,
    PROMPTS,
    SAMPLES,
    SHAPES,
    peak_rss_mib,
    random_model,
    random_prompts,
)


class Phase(NamedTuple):
    """One row of the table."""

    name: str
    seconds: float
    tokens: int  # read or sampled by the phase
    flop: float  # floating point operations of its matrix products, without attention scores


class Work(NamedTuple):
    """Floating point operations per token, of the layers and of the head."""

    layers: float
    head: float


def main() -> None:
    """Print one table per shape and precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), action="append")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], action="append")
    arguments = parser.parse_args()
    rates = {dtype: gemm_rate(dtype) for dtype in ("float32", "bfloat16")}
    print(*(f"GEMM {dtype}: {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items()), sep=", ")
    for shape in arguments.shape or SHAPES:
        for dtype in arguments.dtype or ["float32"]:
            print(f"\n{shape}, {dtype}: {PROMPTS} prompts of {PROMPT_TOKENS}, {NEW_TOKENS} new tokens")
            print(f"{'phase':32}{'seconds':>9}{'tokens/s':>10}{'of GEMM':>9}")
            for phase in phases(shape, dtype):
                share = phase.flop / phase.seconds / rates[dtype]
                print(
                    f"{phase.name:32}{phase.seconds:9.3f}{phase.tokens / phase.seconds:10.0f}{share:9.0%}",
                    flush=True,
                )
            print(f"peak memory so far: {peak_rss_mib():.0f} MiB")


def phases(shape: str, dtype: str) -> list[Phase]:
    """Measure stage 1's batch and stage 2's step once each, after a short warm-up."""
    model = random_model(shape, dtype)
    accelerate(model)
    work = work_of(model)
    prompts = random_prompts(SHAPES[shape]["vocab_size"])
    # No token ends a response: every row is decoded up to the limit.
    sampler = TransformersSampler(model, eos_ids={-1}, pad_id=0, batch_size=PROMPTS * SAMPLES)
    sampling(sampler, prompts[:1], 1, 2, work, "")
    return [
        *sampling(sampler, prompts, SAMPLES, NEW_TOKENS, work, "stage 1"),
        *sampling(sampler, prompts, 1, NEW_TOKENS, work, "stage 2"),
        *update(model, shape, dtype, prompts, work),
    ]


def sampling(
    sampler: TransformersSampler, prompts: list[list[int]], n: int, limit: int, work: Work, stage: str
) -> list[Phase]:
    """Sampling of `n` responses per prompt: prefill is the time to the first token, decode the rest."""
    rows = [prompt for prompt in prompts for _ in range(n)]
    keys = [str(row) for row in range(len(rows))]

    def generate(tokens: int) -> float:
        return timed(lambda: sampler.generate(rows, keys, max_new_tokens=tokens, temperature=1.0))

    first, whole = generate(1), generate(limit)
    prompt_tokens, new_tokens = len(prompts) * PROMPT_TOKENS, len(rows) * (limit - 1)
    return [
        Phase(
            f"{stage}: prefill",
            first,
            prompt_tokens,
            prompt_tokens * work.layers + len(prompts) * work.head,
        ),
        Phase(
            f"{stage}: decode {len(rows)} rows",
            whole - first,
            new_tokens,
            new_tokens * (work.layers + work.head),
        ),
    ]


def update(
    model: PreTrainedModel, shape: str, dtype: str, prompts: list[list[int]], work: Work
) -> list[Phase]:
    """Measure the update of one micro-batch of all prompts: reference, forward, backward, optimizer."""
    frozen = random_model(shape, dtype)
    accelerate(frozen)
    reference = ResponseLogProbs(frozen, temperature=1.0)
    engine = make_engine(model, dtype)
    responses = [prompt[:NEW_TOKENS] for prompt in prompts]
    batch = pad_responses(prompts, responses, pad_id=0, device=device())
    zeros = torch.zeros(PROMPTS, device=device())
    results: dict[str, torch.Tensor] = {}

    def compute_reference() -> None:
        with torch.no_grad():
            results["reference"] = reference(*batch.inputs)

    def forward() -> None:
        log_probs = sum_tokens(engine(*batch.inputs), batch.mask)
        reference = sum_tokens(results["reference"], batch.mask)
        results["loss"], _ = apo_loss(log_probs, reference, zeros, zeros - 1, beta2=0.001)

    tokens = PROMPTS * (PROMPT_TOKENS + NEW_TOKENS)
    once = tokens * work.layers + PROMPTS * NEW_TOKENS * work.head
    engine.train()
    steps: list[tuple[str, Callable[[], object], float]] = [
        ("stage 2: reference log-probs", compute_reference, once),
        ("stage 2: forward", forward, once),
        ("stage 2: backward", lambda: engine.backward(results["loss"]), 2 * once),
        ("stage 2: optimizer", engine.step, 0.0),
    ]
    for _, step, _ in steps:  # the first step makes the optimizer's state
        step()
    return [Phase(name, timed(step), tokens, flop) for name, step, flop in steps]


def work_of(model: PreTrainedModel) -> Work:
    """Two operations per weight of every linear layer."""
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    return Work(2 * sum(layer.weight.numel() for layer in layers), 2 * head.weight.numel())


def gemm_rate(dtype: str, size: int = 1024) -> float:
    """Floating point operations per second of a square matrix product."""
    matrix = torch.randn(size, size, device=device(), dtype=DTYPES[dtype])
    multiply = product_for(matrix)
    return 2 * size**3 / min(timed(lambda: multiply(matrix, matrix, None)) for _ in range(5))


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes until the device is done."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
