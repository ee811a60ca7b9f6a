"""Golds before any training: what is right, doubtful, slow."""

import pytest
from builders import ROOT

from apo_core.config import When
from apo_core.data.prompts import Prompt, prompt_id
from apo_core.verifiers.golds import gold_completion
from flows.workspaces import load_preset
from tasks.rewards.dry_run import dry_run


def prompt(number, answer, set_name="mine"):
    text = f"question {number}"
    return Prompt(prompt_id(text), text, answer, "{}", f"mine.jsonl:{number}", "train", set_name)


def verifier(**changes):
    return load_preset(ROOT / "presets/ci.yaml").verifier[0].model_copy(update=changes)


@pytest.mark.parametrize(
    ("name", "rules", "gold", "completion"),
    [
        ("numeric", ("boxed", "last"), " 7 ", r"\boxed{7}"),
        ("numeric", ("last",), "7", "7"),
        ("gsm8k", ("hashes",), "4 + 3 = 7\n#### 7", "#### 7"),
        ("exact", ("tag",), "red", "<answer>red</answer>"),
        ("exact", ("hashes",), "red\nand blue", None),
        ("math", ("last",), "2x", "$2x$"),
        ("math", ("last",), "$2x$", "$2x$"),
        ("code", ("whole",), "assert f(1) == 2", None),
        ("reasoning_gym:basic_arithmetic", ("whole",), "", None),
    ],
)
def test_a_gold_is_written_where_the_first_rule_looks(name, rules, gold, completion):
    assert gold_completion(name, rules, gold) == completion


def test_golds_are_scored_against_themselves_and_the_next_ones(tmp_path):
    prompts = [prompt(1, "5"), prompt(2, "5.0"), prompt(3, "red"), prompt(4, "6")]
    (outcome,) = dry_run((verifier(),), tmp_path, prompts, [])
    assert (outcome.name, outcome.prompts, outcome.refused) == ("numeric", 4, 1)
    assert (outcome.golds.scored, outcome.golds.mean) == (3, 1.0)
    assert (outcome.neighbours.scored, outcome.neighbours.rewards) == (3, 1.0)
    assert outcome.slowest[0] > 0 and outcome.slowest[1].startswith("mine.jsonl:")
    kinds = {(doubt.kind, doubt.source) for doubt in outcome.doubts.rows}
    assert kinds == {("gold refused", "mine.jsonl:3"), ("another gold is accepted", "mine.jsonl:1")}
    assert not outcome.good
    (outcome,) = dry_run((verifier(),), tmp_path, prompts[:2], [])
    assert outcome.good


def test_each_verifier_sees_the_prompts_that_it_is_for(tmp_path):
    prompts = [prompt(1, "5", "a"), prompt(2, "red", "b"), prompt(3, "blue", "b")]
    verifiers = (
        verifier(when=When(set=("a",))),
        verifier(name="exact", extract=("whole",), when=When(set=("b",))),
    )
    first, second = dry_run(verifiers, tmp_path, prompts, [])
    assert (first.prompts, first.golds.mean, first.neighbours.scored) == (1, 1.0, 0)
    assert (second.prompts, second.golds.mean, second.neighbours.mean) == (2, 1.0, 0.0)


@pytest.mark.slow
def test_a_gold_that_a_users_verifier_calls_wrong_and_its_errors_are_named(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(completion, answer, row):\n"
        "    if answer == 'b':\n"
        "        return row['nothing']\n"
        "    return 0.5\n"
    )
    own = verifier(name="mine:score", extract=("whole",), workers=1)
    (outcome,) = dry_run((own,), tmp_path, [prompt(1, "a"), prompt(2, "b")], [])
    assert not outcome.good
    assert (outcome.golds.mean, outcome.golds.errors, outcome.gold_errors) == (0.5, 1, 1)
    assert (outcome.golds.right, outcome.golds.scored) == (0, 2)
    reasons = {doubt.kind: doubt.reason for doubt in outcome.doubts.rows}
    assert reasons["the verifier failed on a gold"] == "error: KeyError: 'nothing' (mine.py:3)"
    assert "gold wrong against itself" in reasons


@pytest.mark.slow
def test_a_failure_on_a_neighbours_gold_is_one(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(completion, answer, row):\n    return 1.0 if completion == answer else 1 / 0\n"
    )
    own = verifier(name="mine:score", extract=("whole",), workers=1)
    (outcome,) = dry_run((own,), tmp_path, [prompt(1, "a"), prompt(2, "b")], [])
    assert (outcome.golds.mean, outcome.golds.errors, outcome.neighbours.errors) == (1.0, 0, 2)
    assert (outcome.gold_errors, outcome.errors) == (0, 2)
    assert not outcome.good
    rows = [(doubt.kind, doubt.gold, doubt.read) for doubt in outcome.doubts.rows]
    kind = "the verifier failed on the next prompt's gold"
    assert rows == [(kind, "a", "b"), (kind, "b", "a")]  # with the completion that it failed on


@pytest.mark.slow
def test_where_no_answer_was_read_none_is_shown(tmp_path):
    (tmp_path / "mine.py").write_text("def score(*_):\n    return 0.0, 'nothing there', None\n")
    own = verifier(name="mine:score", extract=("whole",), workers=1)
    (outcome,) = dry_run((own,), tmp_path, [prompt(1, "a")], [])
    assert [(doubt.gold, doubt.read) for doubt in outcome.doubts.rows] == [("a", "")]


@pytest.mark.slow
def test_rows_behind_too_many_failures_count_nowhere(tmp_path):
    (tmp_path / "mine.py").write_text("def score(completion, answer, row):\n    return row['nothing']\n")
    own = verifier(name="mine:score", extract=("whole",), workers=1)
    (outcome,) = dry_run((own,), tmp_path, [prompt(number, "a") for number in range(40)], [])
    assert (outcome.golds.scored, outcome.errors, outcome.stopped, outcome.good) == (20, 20, True, False)
    assert outcome.neighbours.scored == 0


def test_verifiers_of_one_name_have_a_number(tmp_path):
    outcomes = dry_run((verifier(), verifier(extract=("boxed",))), tmp_path, [prompt(1, "5")], [])
    assert [outcome.name for outcome in outcomes] == ["numeric", "numeric 2"]
