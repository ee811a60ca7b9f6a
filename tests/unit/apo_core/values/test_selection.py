"""Prompts that training leaves out, and the name of each reason."""

import pandas as pd
import pytest

from apo_core.values.selection import dropped_but_solvable, reason_to_drop

ALL = {"drop_unsolved": False, "drop_solved": False, "keep_mean_reward": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("rules", "mean_reward", "reason"),
    [
        ({}, 0.0, None),
        ({}, 1.0, None),
        ({"drop_unsolved": True}, 0.0, "unsolved"),
        ({"drop_unsolved": True}, 0.125, None),
        ({"drop_solved": True}, 1.0, "solved"),
        ({"drop_solved": True}, 0.875, None),
        ({"keep_mean_reward": (0.2, 0.8)}, 0.125, "too hard"),
        ({"keep_mean_reward": (0.2, 0.8)}, 0.875, "too easy"),
        ({"keep_mean_reward": (0.25, 0.75)}, 0.25, None),
        ({"keep_mean_reward": (0.25, 0.75)}, 0.75, None),
        # The plainer reason comes first.
        ({"drop_unsolved": True, "keep_mean_reward": (0.2, 0.8)}, 0.0, "unsolved"),
        ({"drop_solved": True, "keep_mean_reward": (0.2, 0.8)}, 1.0, "solved"),
    ],
)
def test_a_prompt_is_dropped_for_the_reason_that_holds(rules, mean_reward, reason):
    evidence = {"unsolved": mean_reward == 0, "solved": mean_reward == 1}
    assert reason_to_drop(mean_reward, **evidence, **ALL | rules) == reason


def test_what_the_samples_prove_decides_and_not_their_mean():
    rules = ALL | {"drop_unsolved": True, "drop_solved": True}
    assert reason_to_drop(0.0, unsolved=False, solved=False, **rules) is None
    assert reason_to_drop(1.0, unsolved=False, solved=False, **rules) is None


def test_of_the_prompts_dropped_as_unsolved_so_many_are_probably_solvable():
    table = pd.DataFrame(
        {
            "dropped": ["unsolved", "unsolved", "unsolved", "too hard", None],
            "solvable": [0.7, 0.8, 0.1, 0.3, 1],
        }
    )
    assert dropped_but_solvable(table) == 2  # of 1.6
