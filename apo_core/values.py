"""Stage 1's arithmetic: from the rewards of N reference samples to the optimal value V*(x)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def optimal_value(rewards: Tensor, beta1: float) -> Tensor:
    """V*(x) = beta1 ln((1/N) sum_i exp(r_i / beta1)), by logsumexp so that small beta1 cannot overflow.

    Source: A*-PO (arXiv 2505.20686), the empirical form of the closed solution of KL-regularised RL. It
    tends to the mean reward as beta1 grows and to the largest as beta1 falls.

    Args:
        rewards: (B, N), one row a prompt.
        beta1: in the rewards' unit, above 0.

    Returns:
        (B,) float64, between each row's mean and maximum.

    Raises:
        ValueError: beta1 is not positive and finite, or there is no sample.
    """
    if not (math.isfinite(beta1) and beta1 > 0):
        raise ValueError(f"beta1 must be positive and finite, not {beta1}")
    if rewards.shape[-1] == 0:
        raise ValueError("V* needs at least one sample a prompt")
    scaled = rewards.double() / beta1  # (B, N)
    value = beta1 * (torch.logsumexp(scaled, dim=-1) - math.log(rewards.shape[-1]))  # (B,)
    # Rounding alone can carry the value a hair over its bounds; downstream checks hold them exactly.
    mean, top = rewards.double().mean(dim=-1), rewards.double().amax(dim=-1)
    return torch.minimum(torch.maximum(value, torch.minimum(mean, top)), top)
