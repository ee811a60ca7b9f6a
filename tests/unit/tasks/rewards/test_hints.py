"""What is said of the first responses."""

import pandas as pd
import pytest

from tasks.rewards.hints import hints, short_form


def samples(*rows):
    """Rows of (reward, finish reason, answer that was read)."""
    return pd.DataFrame(
        {
            "prompt_id": [f"p{index}" for index in range(len(rows))],
            "sample_index": 0,
            "text": [f"response number {index}" for index in range(len(rows))],
            "finish_reason": [finish for _, finish, _ in rows],
            "extracted": [read for *_, read in rows],
            "reward": [reward for reward, *_ in rows],
            "reason": ["no number found" if read is None else "7 is not 8" for *_, read in rows],
        }
    )


RIGHT, WRONG, CUT, UNREAD = (1.0, "stop", "8"), (0.0, "stop", "7"), (0.0, "length", "7"), (0.0, "stop", None)
FAILED = (float("nan"), "stop", None)


def test_one_line_of_figures():
    assert short_form(samples(RIGHT, WRONG, CUT, UNREAD, FAILED)) == (
        "5 responses, mean reward 0.250: 20.0% cut off, 20.0% without an answer that was read, "
        "20.0% failed on by the verifier"
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([RIGHT, WRONG, CUT, UNREAD], []),
        ([RIGHT, CUT, CUT, CUT], ["75% of the responses are cut off: raise generation.max_new_tokens (48)"]),
        (
            [RIGHT, UNREAD],
            ["50% hold no answer, mostly: no number found; see verifier.extract"],
        ),
        (
            [RIGHT, RIGHT],
            ["the mean reward is 1.000: there is hardly anything to learn; take harder prompts"],
        ),
    ],
)
def test_what_is_odd_is_said_with_what_to_change(rows, said):
    assert hints(samples(*rows), max_new_tokens=48) == said


def test_five_responses_are_shown_where_hardly_any_is_right():
    first, *rows = hints(samples(*[WRONG] * 60), max_new_tokens=48)
    assert first == "the mean reward is 0.000: hardly any prompt can be learned from. Five responses:"
    assert rows[1] == "  p12/0: reward 0 (7 is not 8): ...response number 12"
    assert len(rows) == 5
