"""95% intervals: of a policy's mean reward, and of the gain of one policy over another on the same prompts.

Both count prompts and not samples, because rewards on the same prompt are correlated.
`python -m benchmarks.coverage` measures how often these and the rejected alternatives contain the true value.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

_TAIL = 0.025
_Z95 = 1.959963984540054
_CHUNK = 100  # resamples computed at once: 10,000 of a million different gains would take 80 GB


def wilson_interval(mean: float, prompts: float) -> tuple[float, float]:
    """Compute Wilson's 95% score interval for a mean of rewards in [0, 1].

    Source: E. B. Wilson, JASA 22 (1927).

    Args:
        mean: mean over prompts of their mean rewards.
        prompts: number of prompts; with several samples per prompt, `effective_prompts`.
    """
    z2 = _Z95**2 / prompts
    centre = (mean + z2 / 2) / (1 + z2)
    half = _Z95 / (1 + z2) * math.sqrt(mean * (1 - mean) / prompts + z2 / (4 * prompts))
    return max(0.0, centre - half), min(1.0, centre + half)


def effective_prompts(means: NDArray[np.float64], samples: float) -> float:
    """Estimate the effective sample size: how many independent 0/1 rewards are worth these prompts.

    The mean of a prompt's samples varies less than a single 0/1 reward, and more than the mean of as many
    independent ones: the ratio of variances is between 1 and the number of samples. With one sample per
    prompt it is 1, and Wilson's interval the usual one. Where no prompt, or every prompt, is solved, the
    ratio is unknown, and 1 is on the safe side.

    Source: L. Kish, Survey Sampling (1965); in Wilson's interval C. Franco et al., Journal of Survey
    Statistics and Methodology 7 (2019).

    Args:
        means: (P,) mean reward of each prompt's samples.
        samples: number of samples per prompt.

    Returns:
        Between P and P times `samples`.
    """
    mean, variance = float(means.mean()), float(means.var())
    of_a_coin = mean * (1 - mean)
    if of_a_coin <= 0:
        return float(means.size)
    ratio = samples if variance * samples <= of_a_coin else of_a_coin / variance
    return float(means.size * max(1.0, ratio))


def paired(first: pd.Series[float], second: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[float]]:
    """Restrict two series of mean rewards to the prompts that both have."""
    common = first.index.intersection(second.index)
    return first[common], second[common]


def paired_bootstrap(
    first: pd.Series[float], second: pd.Series[float], *, seed: int, resamples: int = 10_000
) -> tuple[float, float]:
    """Compute the 95% interval of mean(second - first): expanded percentiles of the paired bootstrap.

    Plain percentiles are too narrow on few prompts, as much as a normal interval is beside Student's t, so
    percentiles further out are taken. BCa, which corrects for skewness, contains the true value less often.

    Source: T. Hesterberg, The American Statistician 69 (2015), section 3.3.

    Args:
        first: (P,) mean reward on each prompt, by prompt_id, in [0, 1].
        second: (P,) the same of another policy, with the same prompts in the same order.
        seed: seed of the resampling.
        resamples: bootstrap draws, a multiple of 100.

    Returns:
        Lower and upper end; -1 and 1 with a single prompt, which says nothing about others.

    Raises:
        ValueError: the prompts differ, or there is none.
    """
    if not first.index.equals(second.index) or first.empty:
        raise ValueError("the two were not evaluated on the same prompts")
    gains = np.asarray(second - first, dtype=np.float64)
    if gains.size == 1:
        return -1.0, 1.0
    means = resampled_means(gains, np.random.default_rng(seed), resamples)
    tail = expanded_tail(gains.size)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(prompts: int) -> float:
    """Compute the share of resampled means beyond either end: below 0.025, for two prompts or more."""
    return float(ndtr(math.sqrt(prompts / (prompts - 1)) * stdtrit(prompts - 1, _TAIL)))


def resampled_means(
    gains: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Resample (P,) gains with replacement; return the (resamples,) means.

    Few samples per prompt give few different gains, so only the counts of each gain are drawn (multinomial).
    """
    values, counts = np.unique(gains, return_counts=True)
    shares = counts / gains.size
    drawn = [rng.multinomial(gains.size, shares, size=_CHUNK) @ values for _ in range(resamples // _CHUNK)]
    return np.asarray(np.concatenate(drawn) / gains.size, dtype=np.float64)
