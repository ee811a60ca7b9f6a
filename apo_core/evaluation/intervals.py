"""Intervals of a policy's mean reward, and of the gain of one policy over another on the same prompts.

Both count prompts and not samples, because rewards on the same prompt are correlated. Both are 95% intervals
unless another `alpha` is asked for, the chance that the true value lies outside.
`python -m benchmarks.coverage` measures how often these and the rejected alternatives contain the true value.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from apo_core.evaluation.sign_flips import sign_flip_interval

ALPHA = 0.05
_INFORMATIVE = 100.0  # prompts of mean 1/2 from which the variance over prompts is known well enough
_DIFFERING = 30  # prompts on which two policies differ, from which the bootstrap is used
_BEYOND = 250  # resampled means beyond either end of an interval
_CHUNK = 100  # resamples computed at once: 10,000 of a million different gains would take 80 GB
_LEAST_BEYOND = 50  # with fewer, the resampling's own chance decides where the end lies
_MOST_RESAMPLES = 50_000
_ROUNDING = 1e-12  # means of the same rewards in another order differ by less


def mean_interval(means: NDArray[np.float64], samples: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Compute the interval of a policy's mean reward: of all prompts like these, not only of these.

    Wilson's where there are many prompts that are neither solved always nor never. Below that, the variance
    over prompts is itself uncertain, and too small most of the time where few prompts are solved; there the
    exact interval of Clopper and Pearson, on effective prompts that allow for it.

    Source: E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), for exact intervals on an effective
    sample size.

    Args:
        means: (P,) mean reward of each prompt's samples, in [0, 1].
        samples: number of samples per prompt.
        alpha: chance that the true mean lies outside, at most.
    """
    mean = float(means.mean())
    if _informative_prompts(means) >= _INFORMATIVE:
        return wilson_interval(mean, effective_prompts(means, samples), alpha=alpha)
    return exact_interval(mean, cautious_effective_prompts(means, samples), alpha=alpha)


def wilson_interval(mean: float, prompts: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Compute Wilson's score interval for a mean of rewards in [0, 1].

    Source: E. B. Wilson, JASA 22 (1927).

    Args:
        mean: mean over prompts of their mean rewards.
        prompts: number of prompts; with several samples per prompt, `effective_prompts`.
        alpha: chance that the true mean lies outside, about.
    """
    z = float(ndtri(1 - alpha / 2))
    z2 = z**2 / prompts
    centre = (mean + z2 / 2) / (1 + z2)
    half = z / (1 + z2) * math.sqrt(mean * (1 - mean) / prompts + z2 / (4 * prompts))
    return max(0.0, centre - half), min(1.0, centre + half)


def exact_interval(mean: float, prompts: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval for a mean of rewards in [0, 1], of a fractional number too.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), as quantiles of beta distributions.

    Args:
        mean: mean over prompts of their mean rewards.
        prompts: number of prompts; with several samples per prompt, `cautious_effective_prompts`.
        alpha: chance that the true mean lies outside, at most.
    """
    solved, unsolved = prompts * mean, prompts * (1 - mean)
    low = float(betaincinv(solved, unsolved + 1, alpha / 2)) if solved > _ROUNDING else 0.0
    high = float(betaincinv(solved + 1, unsolved, 1 - alpha / 2)) if unsolved > _ROUNDING else 1.0
    return low, high


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


def cautious_effective_prompts(means: NDArray[np.float64], samples: float) -> float:
    """Estimate the effective sample size from few prompts, or from prompts hardly any of which is solved.

    The variance over prompts, as a share of that of single 0/1 rewards, is averaged with its largest value,
    1, as if one more prompt of mean 1/2 had shown that. It weighs much where there is little to know the
    variance from, and nothing where there is much.

    Returns:
        Between P and P times `samples`.
    """
    mean = float(means.mean())
    of_a_coin = mean * (1 - mean)
    if of_a_coin <= 0 or means.size == 1:
        return float(means.size)
    share = float(np.clip(means.var(ddof=1) / of_a_coin, 1 / samples, 1))
    informative = _informative_prompts(means)
    return float(means.size * (informative + 1) / (informative * share + 1))


def _informative_prompts(means: NDArray[np.float64]) -> float:
    """Count prompts by what they say about the variance: 1 at a mean of 1/2, and 0 at 0 and 1."""
    mean = float(means.mean())
    return 4 * means.size * mean * (1 - mean)


def paired(first: pd.Series[float], second: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[float]]:
    """Restrict two series of mean rewards to the prompts that both have."""
    common = first.index.intersection(second.index)
    return first[common], second[common]


def paired_interval(
    first: pd.Series[float],
    second: pd.Series[float],
    *,
    seed: int,
    alpha: float = ALPHA,
    resamples: int | None = None,
) -> tuple[float, float]:
    """Compute the interval of mean(second - first), of all prompts like these.

    Where the two differ on thirty prompts or more, expanded percentiles of the paired bootstrap, or Student's
    interval where `alpha` is so small that it would take more than 50,000 resamples. Below thirty both are
    too narrow, since they know no difference that was not seen; there the interval of the sign-flip test.

    Args:
        first: (P,) mean reward on each prompt, by prompt_id, in [0, 1].
        second: (P,) the same of another policy, with the same prompts in the same order.
        seed: seed of the resampling.
        alpha: chance that the true gain lies outside; half of it at either end.
        resamples: a multiple of 100; None for as many as `alpha` needs.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: the prompts differ, or there is none.
    """
    if not first.index.equals(second.index) or first.empty:
        raise ValueError("the two were not evaluated on the same prompts")
    gains = np.asarray(second - first, dtype=np.float64)
    rng, resamples = np.random.default_rng(seed), resamples or resamples_for(alpha)
    differing = gains[np.abs(gains) > _ROUNDING]
    if differing.size < _DIFFERING:
        return sign_flip_interval(differing, gains.size, rng, alpha=alpha, resamples=resamples)
    if resamples * alpha / 2 < _LEAST_BEYOND:
        return student_interval(gains, alpha=alpha)
    return bootstrap_interval(gains, rng, alpha=alpha, resamples=resamples)


def student_interval(gains: NDArray[np.float64], *, alpha: float) -> tuple[float, float]:
    """Compute Student's interval of the mean of (P,) gains, P above 1."""
    half = float(stdtrit(gains.size - 1, 1 - alpha / 2)) * float(gains.std(ddof=1)) / math.sqrt(gains.size)
    mean = float(gains.mean())
    return mean - half, mean + half


def resamples_for(alpha: float) -> int:
    """Count the resamples of which `_BEYOND` lie beyond either end, or as many as can be: 10,000 at 0.05."""
    return min(_MOST_RESAMPLES, _CHUNK * math.ceil(_BEYOND / (alpha / 2) / _CHUNK))


def bootstrap_interval(
    gains: NDArray[np.float64], rng: np.random.Generator, *, alpha: float, resamples: int
) -> tuple[float, float]:
    """Compute the interval of the mean of (P,) gains by expanded percentiles of the bootstrap.

    Plain percentiles are too narrow on few prompts, as much as a normal interval is beside Student's t, so
    percentiles further out are taken. BCa, which corrects for skewness, contains the true value less often.

    Source: T. Hesterberg, The American Statistician 69 (2015), section 3.3.
    """
    means = resampled_means(gains, rng, resamples)
    tail = expanded_tail(gains.size, alpha)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(prompts: int, alpha: float = ALPHA) -> float:
    """Compute the share of resampled means beyond either end: below alpha / 2, for two prompts or more."""
    return float(ndtr(math.sqrt(prompts / (prompts - 1)) * stdtrit(prompts - 1, alpha / 2)))


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
