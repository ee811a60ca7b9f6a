"""The exact sign-flip test of a gain, and the interval that goes with it, where few prompts differ.

If two policies are equally good, a prompt on which they differ could as well have differed the other way.
The test counts how many of all 2^n ways to flip the signs of n differences give a gain as large as the one
that was seen. Four prompts that all went up: one way of sixteen, so that chance does it in 6% of cases.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9  # sums of the same differences in another order differ by less

Floats = NDArray[np.float64]


def sign_flip_p_value(differences: Floats) -> float:
    """Compute the share of all sign flips whose sum is at least that of the (n,) differences.

    All 2^n sums are counted without writing them down: those of either half are, and for each of the one
    half those of the other that reach the rest are found by bisection. Seconds at n = 40.

    Source: R. A. Fisher, The Design of Experiments (1935), section 21.

    Returns:
        The one-sided p-value of a gain; 1 without any difference.
    """
    middle = differences.size // 2
    first, second = _all_flips(differences[:middle]), np.sort(_all_flips(differences[middle:]))
    missing = differences.sum() - _ROUNDING - first
    reached = int((second.size - np.searchsorted(second, missing)).sum())
    return reached / (first.size * second.size)


def _all_flips(differences: Floats) -> Floats:
    """List the sums of (n,) differences under all (2^n,) assignments of signs."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def fewest_prompts(tail: float) -> int:
    """Count the prompts of which the sign-flip test can show anything: 2^-n has to be at most `tail`."""
    return math.ceil(-math.log2(tail))


def sign_flip_interval(
    differences: Floats, prompts: int, rng: np.random.Generator, *, alpha: float, resamples: int
) -> tuple[float, float]:
    """Compute the interval of the mean gain over prompts of which few differ.

    It lies above 0 exactly where the sign-flip test of a gain has a p-value of at most alpha / 2, and below 0
    where that of a loss has. Its ends follow from two uncertainties: by how much the policies differ where
    they do, which the means of all subsets of the differences show (the sign-flip test inverted), and how
    often they do, which is binomial. With the empty subset nothing is known but that rewards lie in [0, 1].

    Sources: J. A. Hartigan, JASA 64 (1969), for subsets; M. P. Fay and K. Lumbard, Statistics in Medicine 40
    (2021), for the combination, there of differences of -1 and 1.

    Args:
        differences: (n,) gains of the prompts on which the policies differ, in [-1, 1] without 0.
        prompts: number of all prompts, n or more.
        rng: of the subsets.
        alpha: chance that the true gain lies outside, at most; half of it at either end.
        resamples: number of subsets.
    """
    low = _lower_end(differences, prompts, rng, alpha / 2, resamples)
    return low, -_lower_end(-differences, prompts, rng, alpha / 2, resamples)


def _lower_end(
    differences: Floats, prompts: int, rng: np.random.Generator, tail: float, resamples: int
) -> float:
    """Compute the end that the true gain lies below with a chance of at most `tail`.

    The test's exact p-value is the share of subsets that show no gain. On which side of 0 the end lies is
    decided by it and not by resampling, and where on that side, by the resampled subsets there.
    """
    chosen = rng.random((resamples, differences.size)) < 0.5
    sums, counts = chosen @ differences, chosen.sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -1.0)
    gains = sums > _ROUNDING
    no_gain = sign_flip_p_value(differences)
    if no_gain > tail:
        losses = np.minimum(means[~gains], 0.0)  # a sum of 0 may be rounded to a hair above
        ends = losses * _differing_at_most(differences.size, prompts, rng, losses.size)
        return float(np.quantile(ends, tail / no_gain)) if ends.size else 0.0
    ends = means[gains] * _differing_at_least(differences.size, prompts, rng, int(gains.sum()))
    return float(np.quantile(ends, (tail - no_gain) / (1 - no_gain)))


def _differing_at_least(differing: int, prompts: int, rng: np.random.Generator, size: int) -> Floats:
    """Sample the lower confidence distribution of the share of prompts that differ."""
    return rng.beta(differing, prompts - differing + 1, size)


def _differing_at_most(differing: int, prompts: int, rng: np.random.Generator, size: int) -> Floats:
    """Sample the upper confidence distribution of the share of prompts that differ."""
    return rng.beta(differing + 1, prompts - differing, size) if differing < prompts else np.ones(size)
