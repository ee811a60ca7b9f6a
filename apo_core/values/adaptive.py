"""Stage 1 with as many responses a prompt as its V* needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from apo_core.values.pooled import Prior, pooled_value

# Positions of prompts, the index of their next sample and how many to draw, to two of (p,): sums of the new
# samples' successes, and how many of those were scored.
Draw = Callable[[list[int], int, int], tuple[Tensor, Tensor]]


def draw_until_settled(
    sums: Tensor,
    counts: Tensor,
    draw: Draw,
    *,
    prior: Prior,
    beta1: float,
    deviation: float,
    first: int,
    limit: int,
) -> None:
    """Draw on for every prompt whose V* is not known well enough; a settled one is left alone for good.

    Args:
        sums: (P,) successes of each prompt's first samples.
        counts: (P,) how many of those were scored.
        draw: draws and scores.
        prior: over all prompts, fitted to their first samples.
        beta1: in the rewards' unit.
        deviation: a prompt is settled when the standard deviation of its V* is not above this.
        first: samples that every prompt has; others follow as many at a time.
        limit: samples of a prompt.
    """
    sums, counts = sums.clone(), counts.clone()
    for start in range(first, limit, first):
        open_ones = unsettled(sums, counts, prior=prior, beta1=beta1, deviation=deviation)
        if not len(open_ones):
            return
        more, scored = draw(open_ones.tolist(), start, min(first, limit - start))
        sums[open_ones] += more
        counts[open_ones] += scored


def unsettled(sums: Tensor, counts: Tensor, *, prior: Prior, beta1: float, deviation: float) -> Tensor:
    """Positions of the prompts whose V* is not known well enough; arguments as of `draw_until_settled`."""
    _, deviations = pooled_value(sums, counts, prior, beta1)
    return (deviations > deviation).nonzero()[:, 0]
