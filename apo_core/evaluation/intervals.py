"""95% intervals: of one policy's mean reward, and of the gain of one over another on the same prompts.

Both count prompts and not samples, whose rewards on one prompt go together. `python -m benchmarks.coverage`
measures how often they hold the truth, beside the intervals that they were chosen over.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

_TAIL = 0.025
_Z95 = 1.959963984540054
_CHUNK = 100  # resamples at once: 10,000 of a million different gains would take 80 GB


def wilson_interval(mean: float, prompts: float) -> tuple[float, float]:
    """Wilson's 95% score interval for a mean of rewards in [0, 1].

    Source: E. B. Wilson, JASA 22 (1927).

    Args:
        mean: over prompts.
        prompts: how many, or, with several samples each, `effective_prompts`.
    """
    z2 = _Z95**2 / prompts
    centre = (mean + z2 / 2) / (1 + z2)
    half = _Z95 / (1 + z2) * math.sqrt(mean * (1 - mean) / prompts + z2 / (4 * prompts))
    return max(0.0, centre - half), min(1.0, centre + half)


def effective_prompts(means: NDArray[np.float64], samples: float) -> float:
    """How many coins with their mean would tell as much about it as these prompts do.

    A mean of several samples varies less than one coin does, and more than as many independent ones: the
    ratio of the two variances is between 1 and the number of samples. With one sample per prompt it is 1, and
    Wilson's interval the usual one. Where nothing is solved, or everything, nothing is known of the ratio,
    and 1 is on the safe side.

    Source: L. Kish, Survey Sampling (1965); in Wilson's interval C. Franco et al., Journal of Survey
    Statistics and Methodology 7 (2019).

    Args:
        means: (P,) mean reward of each prompt's samples.
        samples: a prompt.

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
    """Both on the prompts that both have a reward on."""
    common = first.index.intersection(second.index)
    return first[common], second[common]


def paired_bootstrap(
    first: pd.Series[float], second: pd.Series[float], *, seed: int, resamples: int = 10_000
) -> tuple[float, float]:
    """95% interval of mean(second - first): expanded percentiles of the bootstrap over pairs.

    Plain percentiles are too narrow on few prompts, by as much as a normal interval is beside Student's: they
    are taken as far out as makes up for it. BCa, which corrects for skewness, holds the truth less often.

    Source: T. Hesterberg, The American Statistician 69 (2015), section 3.3.

    Args:
        first: (P,) mean reward on each prompt, by prompt_id, in [0, 1].
        second: (P,) likewise of the same prompts in the same order.
        seed: of the resampling.
        resamples: bootstrap draws, a multiple of 100.

    Returns:
        -1 and 1 where there is one prompt: it says nothing about others.

    Raises:
        ValueError: the prompts differ, or there are none.
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
    """The share of resampled means to leave out at either end, below 0.025, for two prompts or more."""
    return float(ndtr(math.sqrt(prompts / (prompts - 1)) * stdtrit(prompts - 1, _TAIL)))


def resampled_means(
    gains: NDArray[np.float64], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """(resamples,) means of as many draws with replacement from (P,) gains.

    Few samples per prompt give few different gains, so only the counts of each gain are drawn (multinomial).
    """
    values, counts = np.unique(gains, return_counts=True)
    shares = counts / gains.size
    drawn = [rng.multinomial(gains.size, shares, size=_CHUNK) @ values for _ in range(resamples // _CHUNK)]
    return np.asarray(np.concatenate(drawn) / gains.size, dtype=np.float64)
