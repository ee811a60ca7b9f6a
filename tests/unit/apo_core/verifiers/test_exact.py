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
        ("10²", "102", 0.0),
        ("10²", "10^{2}", 1.0),
        ("10⁻³", "10-3", 0.0),
        ("x²", "x²", 1.0),
        ("101₂", "1012", 0.0),
        ("H₂O", "H2O", 1.0),
    ],
)
def test_code_points_that_stand_for_the_same_characters_are_equal(gold, completion, reward):
    assert EXACT.score(completion, gold, {}).reward == reward
    assert EXACT.score(gold, completion, {}).reward == reward


@pytest.mark.parametrize("gold", ["proof", "result", "method", "The question", "**Notes**"])
def test_a_word_of_headings_is_an_answer_where_nothing_follows(gold):
    hashes = make_verifier("exact", ("hashes",), Path())
    assert hashes.score(f"So it is\n#### {gold}\n", gold, {}).reward == 1.0
    assert hashes.score(f"#### {gold}\nIt follows.\n#### 7", "7", {}).reward == 1.0
    assert hashes.score(f"#### 7\n#### {gold}\nIt follows.", "7", {}).reward == 1.0
    assert hashes.score(f"#### 7\n#### {gold}\n", "7", {}).reward == 1.0
    assert hashes.score("#### Answer:", "answer:", {}).reason == "no #### found"
