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
_CORRELATIONS = (0.002, 0.99)  # bounds: a more extreme prior comes from too few prompts


class Prior(NamedTuple):
    """The beta distribution of success rates over prompts."""

    alpha: float
    beta: float


def successes(rewards: Tensor, beta1: float) -> Tensor:
    """Convert rewards in [0, 1] to sizes of successes, in [0, 1] too: the same shape, float64."""
    rewards = rewards.double()
    # Not expm1(r / beta1) / expm1(1 / beta1): a small beta1 overflows both.
    return ((rewards - 1) / beta1).exp() * torch.expm1(-rewards / beta1) / math.expm1(-1 / beta1)


def fit_prior(scores: Tensor, owner: Tensor, *, standard_errors: float = 0.0) -> Prior:
    """Fit the prior that has the scores' mean and their correlation within prompts.

    Source: the analysis-of-variance estimator of the intraclass correlation; Ridout, Demetrio and Firth,
    Biometrics 55 (1999), 137-148, equation 2. Its standard error: the jackknife over prompts.

    Args:
        scores: (M,) in [0, 1], at least one. Where they cannot tell how prompts differ, because no prompt has
            two or only one has any, the prompts are taken to be alike.
        owner: (M,) long, index of the prompt that each score belongs to.
        standard_errors: number of them that the correlation is taken lower by: with two, prompts are hardly
            more alike in truth than under the prior.
    """
    counts = torch.bincount(owner).double()
    per_prompt = torch.stack(
        [
            torch.ones_like(counts),
            counts,
            torch.bincount(owner, scores),
            torch.bincount(owner, scores.square()),
            torch.bincount(owner, scores).square() / counts,
            counts.square(),
        ]
    )[:, counts > 0]  # (6, P)
    totals = per_prompt.sum(dim=1, keepdim=True)  # (6, 1)
    prompts, total, mean = float(totals[0]), float(totals[1]), float(totals[2] / totals[1])
    low, high = _CORRELATIONS
    correlation = float(_correlation(totals))
    if standard_errors:
        without_one = _correlation(totals - per_prompt)  # (P,)
        variation = float((without_one - without_one.mean()).square().sum())
        correlation -= standard_errors * math.sqrt((prompts - 1) / prompts * variation)
    correlation = min(max(correlation, low), high)
    strength = 1 / correlation - 1
    # Where all scores are 0 (or all are 1), assume half a success (or half a failure).
    mean = min(max(mean, 0.5 / total), 1 - 0.5 / total)
    # Prompts that are all either solved or unsolved would fit a prior too steep at its ends to integrate.
    return Prior(max(mean * strength, _SMALLEST), max((1 - mean) * strength, _SMALLEST))


def _correlation(totals: Tensor) -> Tensor:
    """Estimate correlations within prompts, (S,); 0 where the scores cannot tell.

    Args:
        totals: (6, S), sums over a set's prompts of 1, the number of scores, their sum, the sum of their
            squares, the square of their sum by their number, and the square of their number.
    """
    prompts, total, scores, squares, between_sum, size_sum = totals
    between = (between_sum - scores.square() / total) / (prompts - 1)
    within = (squares - between_sum) / (total - prompts)
    size = (total - size_sum / total) / (prompts - 1)
    variance = between + (size - 1) * within
    known = (prompts > 1) & (total > prompts) & (variance > 0)
    return torch.where(known, (between - within) / variance, 0.0)


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
    # Most prompts have the same rewards as another.
    samples, position = torch.stack([sums.double(), counts.double()], dim=1).unique(
        dim=0, return_inverse=True
    )
    for some, total in (chunk.unbind(dim=1) for chunk in samples.split(_CHUNK)):
        won = (prior.alpha + some)[:, None]  # (P, 1)
        lost = (prior.beta + total - some)[:, None]
        shares = (won * log_rate + lost * log_rest + slope).softmax(dim=-1)  # (P, K)
        mean = shares @ value
        means.append(mean)
        deviations.append((shares * (value - mean[:, None]).square()).sum(dim=-1).sqrt())
    return torch.cat(means)[position], torch.cat(deviations)[position]
