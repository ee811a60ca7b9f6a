"""Rewards of several verifiers against figures computed by hand."""

import pytest

from apo_core.config.verifier import When
from apo_core.verifiers import Attempt, InProcess, Verdict, make_verifier
from apo_core.verifiers.combined import CombinedScorer, Part, overlong_penalty


class Fixed:
    """A verifier that says the same of every response."""

    name, version, bounded, reads_row = "fixed", "1", True, False

    def __init__(self, reward):
        self.reward = reward

    def load(self):
        pass

    def answer_problem(self, answer, row):
        return "is no good" if self.reward is None else None

    def score(self, completion, answer, row):
        return Verdict(self.reward, completion, "error: it broke" if self.reward is None else "as always")


def part(name, verifier, *, weight=1.0, overlong=None, **when):
    return Part(
        name=name, scorer=InProcess(verifier), fits=When(**when).fits, weight=weight, overlong=overlong
    )


def numeric():
    from pathlib import Path

    return make_verifier("numeric", ("last",), Path())


def test_a_prompt_is_scored_by_those_that_fit_it():
    scorer = CombinedScorer(
        [
            part("low", Fixed(0.25), set=("gsm8k",)),
            part("high", Fixed(0.75), set=("math", "aime"), group=("algebra",)),
        ]
    )
    rows = [
        Attempt("7", "7", "{}", "gsm8k"),
        Attempt("7", "7", "{}", "aime", "algebra"),
        Attempt("7", "7", "{}", "aime", "geometry"),
    ]
    first, second, third = scorer.score(rows)
    assert (first.reward, first.parts, first.reason) == (0.25, {"low": 0.25}, "as always")
    assert (second.reward, second.parts) == (0.75, {"high": 0.75})
    unfit = "no verifier is for set aime, group geometry: see verifier.when"
    assert third == Verdict(None, None, f"error: {unfit}")
    assert scorer.answer_problems(rows) == [None, None, unfit]


def test_the_reward_is_the_weighted_mean_and_its_parts_stand_beside_it():
    scorer = CombinedScorer([part("numeric", numeric(), weight=3.0), part("style", Fixed(0.5))])
    right, wrong = scorer.score([Attempt("so 7", "7", "{}"), Attempt("so 8", "7", "{}")])
    assert right.reward == pytest.approx((3 * 1 + 0.5) / 4)
    assert right.parts == {"numeric": 1.0, "style": 0.5}
    assert right.extracted == "7"  # the first's: responses vote by it
    assert right.reason == "3 x 1 (numeric): 7 equals 7; 1 x 0.5 (style): as always"
    assert wrong.reward == pytest.approx(0.5 / 4)


def test_parts_of_one_name_have_the_same_number_in_every_row():
    scorer = CombinedScorer(
        [
            part("numeric", Fixed(0.25), set=("a", "b")),
            part("form", Fixed(1.0)),
            part("numeric", Fixed(0.75), set=("b", "c")),
        ]
    )
    rows = [Attempt("7", "7", "{}", name) for name in "abc"]
    first, both, second = scorer.score(rows)
    assert first.parts == {"numeric": 0.25, "form": 1.0}
    assert both.parts == {"numeric": 0.25, "form": 1.0, "numeric 2": 0.75}
    assert second.parts == {"form": 1.0, "numeric 2": 0.75}
    assert "1 x 0.75 (numeric 2): " in both.reason


def test_a_failure_of_one_is_an_error_row():
    scorer = CombinedScorer([part("numeric", numeric()), part("broken", Fixed(None))])
    (verdict,) = scorer.score([Attempt("7", "7", "{}")])
    assert (verdict.reward, verdict.reason) == (None, "error: it broke")
    assert scorer.answer_problems([Attempt("", "7", "{}")]) == ["is no good (verifier broken)"]


@pytest.mark.parametrize(
    ("tokens", "lost"), [(0, 0.0), (300, 0.0), (325, 0.125), (350, 0.25), (400, 0.5), (450, 0.5)]
)
def test_the_last_tokens_cost_in_proportion(tokens, lost):
    assert overlong_penalty(tokens, 400, 100, 0.5) == pytest.approx(lost)
    scorer = CombinedScorer([part("numeric", numeric(), overlong=(100, 0.5))])
    right, wrong = scorer.score([Attempt(text, "7", "{}", "", None, tokens, 400) for text in ("7", "8")])
    assert right.reward == pytest.approx(1 - lost)
    assert wrong.reward == 0.0  # never below
    assert right.parts == {"numeric": 1.0, "overlong": pytest.approx(-lost)}


def test_every_part_is_checked():
    class Missing(InProcess):
        def check(self):
            raise AssertionError("checked")

    scorer = CombinedScorer([part("numeric", numeric())])
    scorer.check()
    broken = Part(name="m", scorer=Missing(numeric()), fits=When().fits, weight=1.0, overlong=None)
    with pytest.raises(AssertionError, match="checked"):
        CombinedScorer([*scorer.parts, broken]).check()
