"""Selection of training prompts by the rewards of their reference samples, which exist already."""

from __future__ import annotations

import pandas as pd

# Mean rewards of the reference policy. With less than the first hardly any response has a reward to learn
# from: eight samples miss such a prompt about every other time. With more than the second nearly all have.
SOLVABLE, NEARLY_ALWAYS_SOLVED = 0.1, 0.9
IMPROBABLE = 0.2


def reason_to_drop(
    mean_reward: float,
    *,
    unsolved: bool,
    solved: bool,
    drop_unsolved: bool,
    drop_solved: bool,
    keep_mean_reward: tuple[float, float],
) -> str | None:
    """Name the reason to leave a prompt out of training; None to keep it.

    Source: A*-PO (arXiv 2505.20686) drops unsolved prompts; a prompt that is always solved has V* = 1, so no
    response to it can have an advantage above 0.

    Args:
        mean_reward: mean reward of the reference policy, as estimated.
        unsolved: whether the prompt counts as never solved.
        solved: whether the prompt counts as always solved.
        drop_unsolved: leave out unsolved prompts.
        drop_solved: leave out solved prompts.
        keep_mean_reward: lowest and highest mean reward to keep, both included.
    """
    low, high = keep_mean_reward
    if drop_unsolved and unsolved:
        return "unsolved"
    if drop_solved and solved:
        return "solved"
    if mean_reward < low:
        return "too hard"
    if mean_reward > high:
        return "too easy"
    return None


def dropped_but_solvable(table: pd.DataFrame) -> int:
    """Count the prompts that were dropped as unsolved though they can be expected to be solvable."""
    return round(float(table.loc[table["dropped"] == "unsolved", "solvable"].sum()))
