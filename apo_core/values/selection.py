"""Selection of training prompts by the rewards of their reference samples, which exist already."""

from __future__ import annotations


def reason_to_drop(
    mean_reward: float,
    max_reward: float,
    *,
    drop_unsolved: bool,
    drop_solved: bool,
    keep_mean_reward: tuple[float, float],
) -> str | None:
    """Name the reason to leave a prompt out of training; None to keep it.

    Source: A*-PO (arXiv 2505.20686) drops unsolved prompts; a prompt that is always solved has V* = 1, so no
    response to it can have an advantage above 0.

    Args:
        mean_reward: mean of the prompt's reference samples; with 0/1 rewards, the pass rate.
        max_reward: maximum of the same samples.
        drop_unsolved: leave out prompts that no sample solves.
        drop_solved: leave out prompts that every sample solves.
        keep_mean_reward: lowest and highest mean reward to keep, both included.
    """
    low, high = keep_mean_reward
    if drop_unsolved and max_reward <= 0:
        return "unsolved"
    if drop_solved and mean_reward >= 1:
        return "solved"
    if mean_reward < low:
        return "too hard"
    if mean_reward > high:
        return "too easy"
    return None
