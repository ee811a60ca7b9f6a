import json
from pathlib import Path

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from apo_core.errors import ApoError
from apo_core.verifiers import make_verifier, reasoning_gym

# Without an answer of their own there is nothing to hold them to; `composite` is made of others.
OPEN = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
TASKS = sorted(set(DATASETS) - {"composite"})


def loaded(task, *rules):
    verifier = make_verifier(f"reasoning_gym:{task}", rules or ("tag", "whole"), Path())
    verifier.load()
    return verifier


@pytest.fixture(scope="module")
def entries():
    """One entry per task, as a row of a table holds it."""
    return {
        task: json.loads(json.dumps(create_dataset(task, seed=1, size=1)[0], default=str)) for task in TASKS
    }


@pytest.mark.slow
def test_every_tasks_own_answer_is_right(entries):
    assert len(TASKS) > 100
    for task, entry in entries.items():
        verifier = loaded(task)
        assert verifier.answer_problem("", entry) is None, task
        if task not in OPEN:
            assert verifier.score(entry["answer"], "", entry).reward == 1.0, task
            assert verifier.score(f"So <answer> {entry['answer']} </answer>!", "", entry).reward == 1.0, task


def test_part_marks_are_kept_and_said(entries):
    entry = entries["chain_sum"]
    verdict = loaded("chain_sum").score("nonsense", "", entry)
    assert 0 <= verdict.reward < 1
    assert verdict.reason == f"chain_sum gives {verdict.reward:g} for nonsense"


def test_a_strict_rule_leaves_the_rest_unread(entries):
    verdict = loaded("chain_sum", "tag").score(entries["chain_sum"]["answer"], "", entries["chain_sum"])
    assert (verdict.reward, verdict.reason) == (0.0, "no <answer></answer> found")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "its row has no answer and metadata"),
        ({"answer": "1", "metadata": "x"}, "its row has no answer and metadata"),
    ],
)
def test_a_row_that_is_no_entry_is_named(row, problem):
    assert problem in loaded("chain_sum").answer_problem("1", row)


def test_an_unknown_task_is_refused():
    with pytest.raises(ApoError, match="reasoning-gym has no task 'nonsense'"):
        loaded("nonsense")


def test_where_it_is_not_installed_the_way_to_install_it_is_said(monkeypatch):
    def missing(_):
        raise reasoning_gym.PackageNotFoundError

    monkeypatch.setattr(reasoning_gym, "version", missing)
    with pytest.raises(ApoError, match=r"not installed: pip install -e '\.\[reasoning-gym\]'"):
        make_verifier("reasoning_gym:chain_sum", ("whole",), Path())
