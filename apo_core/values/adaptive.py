"""Adaptive sampling: as many reference samples per prompt as its V* needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from apo_core.values.pooled import Prior, pooled_value

# Samples and scores more responses. Arguments: positions of p prompts, the index of their next sample, the
# number of new samples per prompt. Returns two (p,) tensors: the sums of the new samples' successes, and how
# many of those samples were scored.
SampleMore = Callable[[list[int], int, int], tuple[Tensor, Tensor]]


def sample_until_settled(
    sums: Tensor,
    counts: Tensor,
    sample_more: SampleMore,
    *,
    prior: Prior,
    beta1: float,
    deviation: float,
    first: int,
    limit: int,
) -> None:
    """Sample more responses to every prompt whose V* is not known well enough; a settled prompt gets no more.

    Args:
        sums: (P,) sum of the successes of each prompt's first samples.
        counts: (P,) number of each prompt's first samples that were scored.
        sample_more: samples and scores responses.
        prior: of all prompts, fitted to their first samples.
        beta1: temperature of V*, in the rewards' unit.
        deviation: a prompt is settled when the standard deviation of its V* is not above this.
        first: samples per prompt that exist already, and the number per prompt of every further round.
        limit: maximum number of samples per prompt.
    """
    sums, counts = sums.clone(), counts.clone()
    for start in range(first, limit, first):
        positions = unsettled(sums, counts, prior=prior, beta1=beta1, deviation=deviation)
        if not len(positions):
            return
        more, scored = sample_more(positions.tolist(), start, min(first, limit - start))
        sums[positions] += more
        counts[positions] += scored


def unsettled(sums: Tensor, counts: Tensor, *, prior: Prior, beta1: float, deviation: float) -> Tensor:
    """Find the prompts whose V* is not known well enough; arguments as of `sample_until_settled`."""
    _, deviations = pooled_value(sums, counts, prior, beta1)
    return (deviations > deviation).nonzero()[:, 0]
