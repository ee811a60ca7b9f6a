"""Which prompts stage 2 trains on, by what stage 1 has found out about them: it costs no generation."""

from __future__ import annotations


def reason_to_drop(
    mean_reward: float,
    max_reward: float,
    *,
    drop_unsolved: bool,
    drop_solved: bool,
    keep_mean_reward: tuple[float, float],
) -> str | None:
    """Why a prompt is left out, or None where it is kept.

    Source: A*-PO (arXiv 2505.20686) drops unsolved prompts; a prompt that is always solved has V* = 1, so no
    response to it can have an advantage above 0.

    Args:
        mean_reward: of the prompt's samples; of 0/1 rewards it is the pass rate.
        max_reward: of the same.
        drop_unsolved: leave out what no sample solves.
        drop_solved: leave out what every sample solves.
        keep_mean_reward: ends of the band that is kept, both included.
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
