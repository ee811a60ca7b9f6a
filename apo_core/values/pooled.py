"""V* from few samples per prompt, with a prior fitted to the rewards of all prompts (empirical Bayes).

With N samples the estimate of `values.optimal` has an error of about 1 / sqrt(N) on every prompt, so to stop
sampling where the first few rewards happen to agree costs more than it saves. The prior, a distribution of
success rates over prompts, says how far such an agreement can be trusted.

A reward r counts as a success of size (exp(r / beta1) - 1) / (exp(1 / beta1) - 1). With the mean success p,
V* = beta1 ln(1 + p (exp(1 / beta1) - 1)) for any rewards in [0, 1]. For 0/1 rewards this is the beta-binomial
model. Rewards between 0 and 1 vary less than the model assumes, so no prompt is settled too early.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

_POINTS = 4096
_POWER = 24
_CHUNK = 512  # prompts at once
_SMALLEST = 0.05  # value of a prior's parameters
_CORRELATIONS = (0.01, 0.99)  # bounds: a more extreme prior comes from too few prompts


class Prior(NamedTuple):
    """The beta distribution of success rates over prompts."""

    alpha: float
    beta: float


def successes(rewards: Tensor, beta1: float) -> Tensor:
    """Convert rewards in [0, 1] to sizes of successes, in [0, 1] too: the same shape, float64."""
    rewards = rewards.double()
    # Not expm1(r / beta1) / expm1(1 / beta1): a small beta1 overflows both.
    return ((rewards - 1) / beta1).exp() * torch.expm1(-rewards / beta1) / math.expm1(-1 / beta1)


def fit_prior(scores: Tensor, owner: Tensor) -> Prior:
    """Fit the prior that has the scores' mean and their correlation within prompts.

    Source: the analysis-of-variance estimator of the intraclass correlation; Ridout, Demetrio and Firth,
    Biometrics 55 (1999), 137-148, equation 2.

    Args:
        scores: (M,) from `successes`, of at least two prompts, one of which has at least two scores.
        owner: (M,) long, index of the prompt that each score belongs to.
    """
    counts = torch.bincount(owner).double()  # (P,)
    counts, total = counts[counts > 0], float(len(scores))
    sums = torch.bincount(owner, scores)[torch.bincount(owner) > 0]  # (P,)
    mean = float(scores.mean())
    prompts = len(counts)
    between = float((counts * (sums / counts - mean).square()).sum()) / (prompts - 1)
    within = float(scores.square().sum() - (sums.square() / counts).sum()) / (total - prompts)
    size = (total - float(counts.square().sum()) / total) / (prompts - 1)
    variance = between + (size - 1) * within
    low, high = _CORRELATIONS
    correlation = min(max((between - within) / variance, low), high) if variance > 0 else low
    strength = 1 / correlation - 1
    # Where all scores are 0 (or all are 1), assume half a success (or half a failure).
    mean = min(max(mean, 0.5 / total), 1 - 0.5 / total)
    # Prompts that are all either solved or unsolved would fit a prior too steep at its ends to integrate.
    return Prior(max(mean * strength, _SMALLEST), max((1 - mean) * strength, _SMALLEST))


def pooled_value(sums: Tensor, counts: Tensor, prior: Prior, beta1: float) -> tuple[Tensor, Tensor]:
    """Compute the posterior mean and standard deviation of V* from each prompt's samples.

    Args:
        sums: (P,) sum of the prompt's `successes`.
        counts: (P,) number of the prompt's scored samples; 0 leaves the prior as it is.
        prior: from `fit_prior`.
        beta1: in the rewards' unit, above 0.

    Returns:
        Mean and standard deviation, each (P,) float64.
    """
    # Substituted p = x^24 / (x^24 + (1 - x)^24): points lie closest at the ends, where densities are steep.
    point = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS  # (K,)
    odds = _POWER * point.logit()
    log_rate, log_rest = logsigmoid(odds), logsigmoid(-odds)
    slope = -(point * (1 - point)).log()  # (K,) with p (1 - p), which the exponents hold, dp / dx
    value = beta1 * torch.logaddexp(log_rest, log_rate + 1 / beta1)  # (K,)
    means, deviations = [], []
    for some, total in zip(sums.double().split(_CHUNK), counts.double().split(_CHUNK), strict=True):
        won = (prior.alpha + some)[:, None]  # (P, 1)
        lost = (prior.beta + total - some)[:, None]
        shares = (won * log_rate + lost * log_rest + slope).softmax(dim=-1)  # (P, K)
        mean = shares @ value
        means.append(mean)
        deviations.append((shares * (value - mean[:, None]).square()).sum(dim=-1).sqrt())
    return torch.cat(means), torch.cat(deviations)
