"""Rates of this machine."""

import itertools

import torch

from apo_core.plan.measuring import measure_rates


def test_rates_are_those_of_the_work():
    """On a clock that gives every round a second, a rate is the work of a round."""
    seconds = itertools.count()
    rates = measure_rates(torch.device("cpu"), rounds=1, clock=lambda: float(next(seconds)))
    assert rates.float32 == rates.bfloat16 == 2 * 1536**3
    assert rates.bandwidth == 4 * 2**15 * 4096
