"""Report and summary: the same JSON before and after they are read, and what counts as finished."""

import hashlib
import json

import pytest

from apo_core.decisions.promotion_rule import Comparison, PromotionDecision
from apo_core.evaluation.schema import PolicyScores
from apo_core.system.files import read_json, write_json
from tasks.reporting.summary import Report, Summary, complete_summary, finished_summary
from tasks.workspace import Workspace


def scores(mean):
    return {
        "pass@1": mean,
        "avg@4": mean,
        "pass@2": 0.75,
        "pass@4": None,
        "maj@4": 0.5,
        "ci95": [mean - 0.125, mean + 0.125],
        "greedy": 0.5,
        "truncated": 0.0,
        "unparsed": 0.25,
        "errors": 0.0,
    }


def block(gain):
    return {
        "prompts": 40,
        "samples": 4,
        "reference": scores(0.25),
        "policy": scores(0.25 + gain),
        "gain": gain,
        "gain_ci95": [gain - 0.0625, gain + 0.0625],
    }


BOUNDS = {"gain_bounds": [0.25, 0.625], "gain_bounds_ci95": [0.125, 0.75]}
REPORT = {
    "model": {"name": "m", "version": None, "aliases": []},
    "decision": {"outcome": "promote", "reason": "better", "confirmed": []},
    "eval": {
        **block(0.25),
        "kl": 1.5,
        "sets": {"one": block(0.5) | BOUNDS, "two": block(0.0)},  # the verifier failed on rows of one
        "groups": {},
        "difficulty": {"unsolved": block(0.5)},
    },
    "values": {
        "prompts": 4,
        "kept": 3,
        "dropped": {"unsolved": 1},
        "dropped_but_solvable": 0,
        "n": 4,
        "responses": 16,
        "beta1": 0.5,
    },
    "train": {"algorithm": "apo", "steps": 2, "prompts_per_step": 4, "peak_rss_mib": 100.5},
    "seconds": {"train": 1.25},
    "lineage": {"dvc_lock_sha256": None, "fingerprint": "ab" * 32, "git_commit": None},
}


@pytest.fixture
def workspace(tmp_path):
    new_workspace = Workspace(tmp_path)
    write_json(new_workspace.report, REPORT)
    new_workspace.lock.write_text("schema: '2.0'\n")
    return new_workspace


def test_a_report_that_is_read_and_written_is_the_same_file(workspace, tmp_path):
    report = Report.read(workspace.report)
    report.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == workspace.report.read_bytes()
    assert report.eval.policy.pass_at_1 == 0.5
    assert report.eval.policy.at_k("maj@4") == 0.5
    assert report.eval.policy.at_k("pass@4") is None
    with pytest.raises(KeyError):
        report.eval.policy.at_k("pass@8")


def test_a_run_that_registers_nothing_is_finished(workspace):
    decision = PromotionDecision("hold", "not better")
    summary = complete_summary(None, workspace, decision=decision, registered=None, run_id="1234")
    summary.write(workspace.summary)
    digest = hashlib.sha256(workspace.lock.read_bytes()).hexdigest()
    assert read_json(workspace.summary) == REPORT | {
        "decision": {"outcome": "hold", "reason": "not better", "confirmed": []},
        "lineage": REPORT["lineage"] | {"dvc_lock_sha256": digest},
        "approval": None,
        "run_id": "1234",
    }
    assert finished_summary(workspace) == summary == Summary.read(workspace.summary)
    workspace.lock.write_text("schema: '2.1'\n")
    assert finished_summary(workspace) is None


def test_a_summary_names_the_gains_by_fresh_responses_alone(workspace):
    gain = Comparison(against="champion (version 3)", gain=0.25, low=0.125, high=0.375, alpha=0.02)
    by_evaluation = PromotionDecision("hold", "not better", gains=(gain,))
    for decision, expected in (
        (by_evaluation, []),
        (
            by_evaluation._replace(confirmed=True),
            [{"against": "champion (version 3)", "gain": 0.25, "low": 0.125, "high": 0.375, "alpha": 0.02}],
        ),
    ):
        summary = complete_summary(None, workspace, decision=decision, registered=None, run_id="1234")
        assert summary.as_json()["decision"]["confirmed"] == expected


def test_a_summary_that_no_run_has_completed_is_not_finished(workspace):
    assert finished_summary(workspace) is None
    workspace.summary.write_bytes(workspace.report.read_bytes())  # as stage `report` leaves it
    assert finished_summary(workspace) is None
    decision = PromotionDecision("hold", "why")
    whole = complete_summary(None, workspace, decision=decision, registered=None, run_id="1234").as_json()
    for name in whole:
        rest = {key: value for key, value in whole.items() if key != name}
        workspace.summary.write_text(json.dumps(rest))  # of an earlier version
        assert finished_summary(workspace) is None


def test_scores_of_graded_rewards_are_read_and_written_as_they_are():
    graded = {name: value for name, value in scores(0.25).items() if not name.startswith("pass")}
    graded |= {"reward": 0.25, "best@4": 0.5}
    read = PolicyScores.model_validate(graded)
    assert (read.mean_name, read.mean, read.at_k("best@4")) == ("reward", 0.25, 0.5)
    assert read.model_dump(mode="json") == graded


@pytest.mark.parametrize("more", [{"reward": 0.5}, {"pass@1": None}])
def test_scores_have_one_mean(more):
    with pytest.raises(ValueError, match="either pass@1 or reward"):
        PolicyScores.model_validate(scores(0.25) | more)
