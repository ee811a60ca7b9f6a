"""Prompts that training leaves out, and the name of each reason."""

import pytest

from apo_core.values.selection import reason_to_drop

ALL = {"drop_unsolved": False, "drop_solved": False, "keep_mean_reward": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("rules", "mean_reward", "max_reward", "reason"),
    [
        ({}, 0.0, 0.0, None),
        ({}, 1.0, 1.0, None),
        ({"drop_unsolved": True}, 0.0, 0.0, "unsolved"),
        ({"drop_unsolved": True}, 0.125, 1.0, None),
        ({"drop_unsolved": True}, 0.01, 0.08, None),  # a part of a reward is more than none
        ({"drop_solved": True}, 1.0, 1.0, "solved"),
        ({"drop_solved": True}, 0.875, 1.0, None),
        ({"keep_mean_reward": (0.2, 0.8)}, 0.125, 1.0, "too hard"),
        ({"keep_mean_reward": (0.2, 0.8)}, 0.875, 1.0, "too easy"),
        ({"keep_mean_reward": (0.25, 0.75)}, 0.25, 1.0, None),
        ({"keep_mean_reward": (0.25, 0.75)}, 0.75, 1.0, None),
        # The plainer reason comes first.
        ({"drop_unsolved": True, "keep_mean_reward": (0.2, 0.8)}, 0.0, 0.0, "unsolved"),
        ({"drop_solved": True, "keep_mean_reward": (0.2, 0.8)}, 1.0, 1.0, "solved"),
    ],
)
def test_a_prompt_is_dropped_for_the_reason_that_holds(rules, mean_reward, max_reward, reason):
    assert reason_to_drop(mean_reward, max_reward, **ALL | rules) == reason
