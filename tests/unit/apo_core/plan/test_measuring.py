"""Rates of this machine."""

import torch

from apo_core.plan import measuring


def test_rates_are_those_of_the_work(monkeypatch):
    """On a clock that gives every round a second, a rate is the work of a round."""
    clock = iter(range(1000))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(clock)))
    rates = measuring.measure_rates(torch.device("cpu"), rounds=1)
    assert rates.float32 == rates.bfloat16 == 2 * 1536**3
    assert rates.bandwidth == 4 * 2**15 * 4096
