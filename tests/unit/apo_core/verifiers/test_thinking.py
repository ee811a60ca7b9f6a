import re
from pathlib import Path

import pytest

from apo_core.verifiers import Verdict, make_verifier
from apo_core.verifiers.thinking import TAGS, tags_problem, without_thinking

OPEN, CLOSE = TAGS


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("7", False, "7"),
        ("<think>5</think> 7", False, " 7"),
        ("5</think> 7", False, " 7"),  # the prompt opened it
        ("<think>5</think><think>6</think>7", False, "7"),
        ("<think>5</think> 7 <think>6", False, None),
        ("<think>5", False, None),
        ("", False, ""),
        ("5", True, None),  # cut off while thinking
        ("5</think>7", True, "7"),
        ("", True, None),
    ],
)
def test_the_answer_stands_behind_the_last_closing_tag(text, opened, expected):
    assert without_thinking(text, TAGS, opened=opened) == expected


@pytest.mark.parametrize(
    ("name", "rules", "gold", "completion", "reward"),
    [
        ("math", ("boxed", "last"), "7", r"<think>First \boxed{5}.</think> The answer is 7.", 1.0),
        ("math", ("boxed", "last"), "5", r"<think>First \boxed{5}.</think> The answer is 7.", 0.0),
        ("numeric", ("boxed", "last"), "5", r"<think>Maybe \boxed{5}? no wait", 0.0),
        ("numeric", ("last",), "7", "so 5</think>7", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 7", "<think>#### 5</think>7", 1.0),
        ("choice", ("last",), "B", "<think>The answer is A.</think>B", 1.0),
        ("exact", ("whole",), "rome", "<think>Paris?</think>\nRome", 1.0),
        ("exact", ("tag",), "rome", "<think><answer>Paris</answer></think><answer>Rome</answer>", 1.0),
    ],
)
def test_no_verifier_reads_what_was_thought(name, rules, gold, completion, reward):
    assert make_verifier(name, rules, Path()).score(completion, gold, {}).reward == reward


def test_a_response_that_ends_while_thinking_says_so():
    verdict = make_verifier("numeric", ("last",), Path()).score("<think>5", "5", {})
    assert verdict == Verdict(0.0, None, "no answer: the thinking part is not closed by </think>")


def test_a_response_that_the_prompt_opened_begins_inside():
    verifier = make_verifier("numeric", ("last",), Path(), thinking_opened=True)
    assert verifier.score("maybe 5", "5", {}).reward == 0.0
    assert verifier.score("maybe 4</think>5", "5", {}).reward == 1.0


def test_keep_scores_the_response_whole():
    verifier = make_verifier("numeric", ("last",), Path(), thinking="keep")
    assert verifier.score("<think>5", "5", {}).reward == 1.0


def test_tags_of_another_model():
    tags = ("[THINK]", "[/THINK]")
    verifier = make_verifier("numeric", ("last",), Path(), thinking_tags=tags)
    assert verifier.score("[THINK]4[/THINK] 5", "5", {}).reward == 1.0
    assert verifier.score("[THINK] 5", "5", {}).reward == 0.0
    assert verifier.score("<think>5", "5", {}).reward == 1.0


def test_the_version_tells_how_thinking_is_read():
    versions = {
        make_verifier("numeric", ("last",), Path(), **options).version
        for options in (
            {},
            {"thinking": "keep"},
            {"thinking_tags": ("a", "bc")},
            {"thinking_tags": ("ab", "c")},
        )
    }
    assert len(versions) == 4


def test_a_users_function_gets_the_completion_as_configured(tmp_path):
    (tmp_path / "own_length.py").write_text(
        "def score(completion, answer, row):\n    return 1.0, completion\n"
    )
    for options, expected in (({}, "7"), ({"thinking": "keep"}, "<think>5</think>7")):
        verifier = make_verifier("own_length:score", ("whole",), tmp_path, **options)
        verifier.load()
        assert verifier.score("<think>5</think>7", "7", {}).reason == expected


@pytest.mark.parametrize("tags", [("", "</think>"), ("<think>", " "), ("<t>", "<t>")])
def test_tags_must_be_two(tags):
    assert re.match("must be two", tags_problem(tags))
    assert tags_problem(TAGS) is None
