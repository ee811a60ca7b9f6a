from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

EXACT = make_verifier("exact", ("whole",), Path())


@pytest.mark.parametrize(
    ("gold", "completion", "reward"),
    [
        ("café", "cafe\u0301", 1.0),
        ("\uff15", "5", 1.0),
        ("ﬁn", "fin", 1.0),
        ("New\xa0York", "new york", 1.0),
        ("Ⅳ", "IV", 1.0),
        ("\uff8a\uff9f", "パ", 1.0),
        ("ab​c", "abc", 1.0),
        ("Å", "Å", 1.0),
        ("cafe", "café", 0.0),
        ("5.0", "5", 0.0),
    ],
)
def test_code_points_that_stand_for_the_same_characters_are_equal(gold, completion, reward):
    assert EXACT.score(completion, gold, {}).reward == reward
    assert EXACT.score(gold, completion, {}).reward == reward
