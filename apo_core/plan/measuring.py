"""Rates of this machine's device, measured in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from apo_core.model.acceleration import large_product
from apo_core.plan.hardware import Rates

_ROUNDS = 15
Clock = Callable[[], float]


def measure_rates(device: torch.device, *, rounds: int = _ROUNDS, clock: Clock = time.perf_counter) -> Rates:
    """Multiply large matrices in both precisions and read a large one; medians of several rounds.

    On CPU products are those of models that were loaded with the kernels.

    Args:
        device: to measure.
        rounds: of each operation.
        clock: `time.process_time` leaves out what others do meanwhile, where one thread computes.
    """

    def seconds(work: Callable[[], object]) -> float:
        work()  # the first makes what later ones find
        return median(_seconds(work, device, clock) for _ in range(rounds))

    size = 8192 if device.type == "cuda" else 1536
    return Rates(
        float32=_products(device, torch.float32, size, seconds),
        bfloat16=_products(device, torch.bfloat16, size, seconds),
        bandwidth=_bandwidth(device, seconds),
    )


def _products(
    device: torch.device, dtype: torch.dtype, size: int, seconds: Callable[[Callable[[], object]], float]
) -> float:
    """Floating point operations per second of a square product."""
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    multiply = large_product(matrix)
    return 2 * size**3 / seconds(lambda: multiply(matrix, matrix, None))


def _bandwidth(device: torch.device, seconds: Callable[[Callable[[], object]], float]) -> float:
    """Bytes per second that a product of a large matrix and a vector reads."""
    rows = 2**17 if device.type == "cuda" else 2**15
    matrix = torch.ones(rows, 4096, device=device, dtype=torch.float32)
    vector = torch.ones(4096, device=device, dtype=torch.float32)
    size: int = matrix.nbytes
    return size / seconds(lambda: matrix @ vector)


def _seconds(work: Callable[[], object], device: torch.device, clock: Clock) -> float:
    """Seconds until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started
