"""The optimal value V*(x), estimated from the rewards of N samples of the reference policy."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def optimal_value(rewards: Tensor, beta1: float) -> Tensor:
    """Estimate V*(x) = beta1 ln((1/N) sum_i exp(r_i / beta1)).

    Rewards are taken relative to the largest, so that a small beta1 cannot overflow. expm1 and log1p keep
    precision where a large beta1 would multiply the rounding error of exp and log.

    Source: A*-PO (arXiv 2505.20686), the empirical form of the closed solution of KL-regularised RL. V*
    tends to the mean reward as beta1 grows and to the largest as beta1 falls.

    Args:
        rewards: (B, N), one row per prompt.
        beta1: temperature of V*, in the rewards' unit, above 0.

    Returns:
        (B,) float64, between each row's mean and maximum.

    Raises:
        ValueError: beta1 is not positive and finite, or there is no sample.
    """
    if not (math.isfinite(beta1) and beta1 > 0):
        raise ValueError(f"beta1 must be positive and finite, not {beta1}")
    if rewards.shape[-1] == 0:
        raise ValueError("V* needs at least one sample per prompt")
    rewards = rewards.double()  # (B, N)
    top = rewards.amax(dim=-1)  # (B,)
    below = (rewards - top[..., None]) / beta1  # (B, N), at most 0
    value = top + beta1 * torch.log1p(torch.expm1(below).mean(dim=-1))  # (B,)
    # Rounding alone can carry the value a hair over its bounds; downstream checks hold them exactly.
    return torch.minimum(torch.maximum(value, rewards.mean(dim=-1)), top)
