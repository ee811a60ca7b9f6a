"""Rates of this machine's device, measured in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from apo_core.model.acceleration import large_product
from apo_core.plan.hardware import Rates

_ROUNDS = 15


def measure_rates(device: torch.device, rounds: int = _ROUNDS) -> Rates:
    """Multiply large matrices in both precisions and read a large one; medians of several rounds.

    On a machine that others use, medians are what a run gets of it. On CPU products are those of models that
    were loaded with the kernels.
    """
    size = 8192 if device.type == "cuda" else 1536
    return Rates(
        float32=_products(device, torch.float32, size, rounds),
        bfloat16=_products(device, torch.bfloat16, size, rounds),
        bandwidth=_bandwidth(device, rounds),
    )


def _products(device: torch.device, dtype: torch.dtype, size: int, rounds: int) -> float:
    """Floating point operations per second of a square product."""
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    multiply = large_product(matrix)
    return 2 * size**3 / _median_seconds(lambda: multiply(matrix, matrix, None), device, rounds)


def _bandwidth(device: torch.device, rounds: int) -> float:
    """Bytes per second that a product of a large matrix and a vector reads."""
    rows = 2**17 if device.type == "cuda" else 2**15
    matrix = torch.ones(rows, 4096, device=device, dtype=torch.float32)
    vector = torch.ones(4096, device=device, dtype=torch.float32)
    size: int = matrix.nbytes
    return size / _median_seconds(lambda: matrix @ vector, device, rounds)


def _median_seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    work()  # the first makes what later ones find
    return median(_seconds(work, device) for _ in range(rounds))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
