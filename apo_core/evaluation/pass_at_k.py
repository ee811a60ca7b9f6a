"""What several samples of a prompt are worth together: pass@k and maj@k of one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation


def pass_at_k(rewards: Sequence[float], k: int) -> float:
    """The unbiased estimate of the best reward among k samples; with k = 1 it is their mean, avg@n.

    Where rewards are 0 or 1 and c of the n are 1, it is the published 1 - C(n-c, k) / C(n, k); with others in
    between it goes on to mean the best of k. A sample is the best of the k where the others are among those
    below it: C(i-1, k-1) / C(n, k) for the i-th smallest, computed as a product from the largest down, since
    the binomials overflow.

    Source: Chen et al., arXiv 2107.03374, equation 1.

    Args:
        rewards: of the n samples of one prompt.
        k: from 1 to n.

    Raises:
        ValueError: k is not.
    """
    n = len(rewards)
    if not 1 <= k <= n:
        raise ValueError(f"k {k} is not between 1 and the {n} samples")
    best, chance = 0.0, k / n  # of the largest to be among the k
    for rank, reward in zip(range(n, k - 1, -1), sorted(rewards, reverse=True), strict=False):
        best += chance * reward
        chance *= (rank - k) / max(1, rank - 1)
    return best


def majority_at_k(rewards: Sequence[float], answers: Sequence[str | None]) -> float:
    """The reward of the answer that most of a prompt's samples give.

    A sample without an answer has no vote. Of several answers with most votes one is drawn: the expected
    reward counts, so that nothing depends on the samples' order. Where nobody votes a sample is drawn. The
    vote does not look at rewards; if they differ within one answer, their mean is its reward.

    Args:
        rewards: of the n samples of one prompt, at least one.
        answers: what the verifier read in each of them.
    """
    votes: dict[Decimal | str, list[float]] = {}
    for reward, answer in zip(rewards, answers, strict=True):
        if answer is not None:
            votes.setdefault(ballot(answer), []).append(reward)
    most = max(map(len, votes.values()), default=0)
    winners = [mine for mine in votes.values() if len(mine) == most] or [list(rewards)]
    return sum(sum(mine) / len(mine) for mine in winners) / len(winners)


def ballot(answer: str) -> Decimal | str:
    r"""What a vote for this answer is counted under: the value of a number (7, 7.0, 1e2), or the text.

    So `numeric` and `gsm8k`, whose answers are numbers, and `exact`, whose answers are folded text, vote by
    value. Expressions of `math` (\frac12 and 0.5) do so only as far as the verifier writes them alike.
    """
    try:
        number = Decimal(answer.strip())
    except InvalidOperation:
        return answer.strip()
    return number if number.is_finite() else answer.strip()
