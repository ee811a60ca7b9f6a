"""pass@k and maj@k of one prompt, from several samples."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation


def pass_at_k(rewards: Sequence[float], k: int) -> float:
    """Estimate the best reward among k samples without bias; with k = 1, the mean reward avg@n.

    For 0/1 rewards, c of them 1, this is the published 1 - C(n-c, k) / C(n, k); rewards in between extend it
    to the expected best of k. The i-th smallest sample is the best of k if the other k - 1 are all smaller,
    with probability C(i-1, k-1) / C(n, k), computed as a product from the largest down, since the binomials
    overflow.

    Source: Chen et al., arXiv 2107.03374, equation 1.

    Args:
        rewards: rewards of the n samples of one prompt.
        k: from 1 to n.

    Raises:
        ValueError: k is below 1 or above n.
    """
    n = len(rewards)
    if not 1 <= k <= n:
        raise ValueError(f"k {k} is not between 1 and the {n} samples")
    best, chance = 0.0, k / n  # probability that the largest is among the k
    for rank, reward in zip(range(n, k - 1, -1), sorted(rewards, reverse=True), strict=False):
        best += chance * reward
        chance *= (rank - k) / max(1, rank - 1)
    return best


def majority_at_k(rewards: Sequence[float], answers: Sequence[str | None]) -> float:
    """Compute the reward of the answer that most of a prompt's samples give.

    A sample without an answer has no vote. If several answers have the most votes, the result is the mean of
    their rewards, the expected value of a random choice, so the order of samples does not matter. If no
    sample votes, the result is the mean of all rewards. Rewards do not influence the vote; if they differ
    within one answer, their mean is the answer's reward.

    Args:
        rewards: rewards of the n samples of one prompt, n at least 1.
        answers: answer that the verifier read in each sample; None if it read none.
    """
    votes: dict[Decimal | str, list[float]] = {}
    for reward, answer in zip(rewards, answers, strict=True):
        if answer is not None:
            votes.setdefault(ballot(answer), []).append(reward)
    most = max(map(len, votes.values()), default=0)
    winners = [mine for mine in votes.values() if len(mine) == most] or [list(rewards)]
    return sum(sum(mine) / len(mine) for mine in winners) / len(winners)


def ballot(answer: str) -> Decimal | str:
    r"""Convert an answer to the key that its vote is counted under: a number's value (7 = 7.0), or the text.

    So samples of `numeric` and `gsm8k`, whose answers are numbers, and of `exact`, whose answers are folded
    text, vote by value. Equal expressions of `math` (\frac12 and 0.5) count as one only if written alike.
    """
    try:
        number = Decimal(answer.strip())
    except InvalidOperation:
        return answer.strip()
    return number if number.is_finite() else answer.strip()
