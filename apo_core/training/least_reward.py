"""The least mean reward that the guard lets pass, which chance alone must not fall below."""

from __future__ import annotations

import math

# Of one window's mean, for a policy that has not changed and whose expected reward is known.
_CHANCE = 1e-4


def least_reward(expected: float, *, share: float, rewards: int) -> float:
    """Compute `share` of the expected reward, or less where chance alone goes below that.

    The chance that the mean of n independent rewards in [0, 1] is m or less is at most exp(-n D(m, e)), with
    their expected value e and D(m, e) = m ln(m / e) + (1 - m) ln((1 - m) / (1 - e)). Source: W. Hoeffding,
    JASA 58 (1963), theorem 1, equation 2.1.

    Args:
        expected: mean reward of the policy before it has learned, in [0, 1].
        share: of it, in [0, 1], that a policy must not fall below.
        rewards: number of independent rewards that a mean is of: prompts per step times steps.
    """
    enough = -math.log(_CHANCE) / rewards
    low, high = 0.0, share * expected  # D falls from 0 to the expected value
    if high == 0 or _divergence(high, expected) >= enough:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(middle, expected) >= enough else (low, middle)
    return low


def _divergence(mean: float, expected: float) -> float:
    if expected >= 1:
        return 0.0 if mean >= 1 else math.inf
    won = mean * math.log(mean / expected) if mean > 0 else 0.0
    lost = (1 - mean) * math.log((1 - mean) / (1 - expected)) if mean < 1 else 0.0
    return won + lost
