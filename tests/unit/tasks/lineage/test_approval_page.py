"""The page on which a person decides on a version, and the text of `apo lineage`."""

import json
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from apo_core.decisions.audit_chain import START, Entry
from apo_core.tables import write_table
from tasks.decisions.log import open_log
from tasks.lineage.approval_page import as_markdown, describe_version
from tasks.lineage.lineage import decisions_in_words, metrics_in_words
from tasks.tracking.store import connect
from tasks.workspace import Workspace

EVALUATION = {
    "reference": {"pass@1": 0.43212345},
    "policy": {"pass@1": 0.70598765},
    "gain": 0.2738642,
    "gain_ci95": [0.25012345, 0.29812345],
}


def entry(event, by, sequence, reason="why", **evidence):
    time = f"2026-11-0{sequence}T12:34:56.789+00:00"
    return Entry(
        model="m",
        sequence=sequence,
        time=time,
        event=event,
        version="2",
        by=by,
        reason=reason,
        evidence=evidence,
        nonce="nonce",
        previous=START,
        hash="a1b2" * 16,
    )


CANDIDATE = entry(
    "candidate",
    "Bob",
    1,
    "better than the reference: pass@1 +0.274, 95% interval +0.250 to +0.298",
    started_by="Bob",
    expires="2026-11-08T13:00:07.123+01:00",
)


def test_whoever_decides_sees_what_missing_rewards_could_change():
    bounds = {"gain_bounds": [0.25, 0.3], "gain_bounds_ci95": [-0.01, 0.32]}
    lines = metrics_in_words(EVALUATION | bounds)
    assert lines["gain, whatever the missing rewards"] == "+0.250 to +0.300 (95% -0.010 to +0.320)"
    assert lines.items() > metrics_in_words(EVALUATION).items()


def test_what_is_to_be_decided_comes_first_and_hashes_last():
    lineage = {
        "version": "m/2",
        **decisions_in_words([CANDIDATE]),
        **metrics_in_words(EVALUATION),
        "value table": "md5 1234",
        "run": "5678",
    }
    shown = as_markdown("m version 2", CANDIDATE, lineage, {"MLflow run": "http://host/#/1"})
    assert shown.splitlines() == [
        r"**m version 2** waits for a decision until 2026-11-08 12:00 UTC: "
        "better than the reference: pass@1 +0.274, 95% interval +0.250 to +0.298",
        "",
        "- started by: Bob",
        "- reference pass@1: 0.432",
        "- policy pass@1: 0.706",
        "- gain over the reference: +0.274 (95% +0.250 to +0.298)",
        "",
        "[MLflow run](http://host/#/1)",
        "",
        "Made from:",
        "",
        "- value table: md5 1234",
        "- run: 5678",
    ]


def test_a_form_that_cannot_approve_says_so():
    rules = CANDIDATE.evidence | {"four_eyes": True, "started_by_account": "ada"}
    shown = as_markdown("m version 2", replace(CANDIDATE, evidence=rules), {}, {})
    assert "can only reject it: approve by `apo approve`" in shown
    by_name = rules | {"started_by_account": None}
    assert "apo approve" not in as_markdown("m version 2", replace(CANDIDATE, evidence=by_name), {}, {})


def test_who_approved_is_shown_with_the_account():
    approved = entry("approved", "Bob", 2, account="bob-7")
    assert decisions_in_words([approved])["approval"].startswith("approved by Bob (account bob-7) at ")


def test_a_name_is_no_markup():
    shown = as_markdown("m version 2", CANDIDATE, {"started by": "[Bob](http://elsewhere)"}, {})
    assert r"- started by: \[Bob\](http://elsewhere)" in shown.splitlines()


def test_an_approval_has_one_line():
    approved = entry("approved", "Ada", 2)
    approval = "approved by Ada at 2026-11-02 12:34 UTC: why (entry 2, a1b2a1b2a1b2)"
    assert decisions_in_words([CANDIDATE, approved]) == {"started by": "Bob", "approval": approval}
    last = decisions_in_words([CANDIDATE, approved, entry("rollback", "Cy", 3)])
    assert last["approval"] == approval
    assert last["last decision"].startswith("rollback by Cy at 2026-11-03 ")
    assert decisions_in_words([]) == {}


def test_the_gain_by_fresh_responses_is_named():
    evidence = CANDIDATE.evidence | {"confirmed_gain": "pass@1 +0.250"}
    lines = decisions_in_words([replace(CANDIDATE, evidence=evidence)])
    assert lines == {"started by": "Bob", "gain by fresh responses": "pass@1 +0.250"}


LOCK = """
schema: '2.0'
stages:
  prepare:
    deps: [{path: data/raw/prompts, md5: 11aa}]
    outs: [{path: data/prompts.parquet, md5: 22bb}]
"""
REPORT = {
    "eval": EVALUATION,
    "train": {"algorithm": "grpo"},
    "lineage": {"git_commit": None, "fingerprint": "33cc"},
}


@pytest.mark.slow
def test_a_version_is_described_by_its_run(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "APO_AUDIT_URI"):
        monkeypatch.delenv(name, raising=False)
    workspace = Workspace(tmp_path)
    client = connect(workspace)
    run = client.create_run(
        client.create_experiment("e", (tmp_path / "artifacts").as_uri()),
        tags={"pipeline_run": "http://prefect/runs/flow-run/4"},
    ).info.run_id
    values = tmp_path / "values.parquet"
    column = pa.schema([("value", pa.float64())])
    write_table(values, pd.DataFrame({"value": [0.5]}), column, {"fingerprint": {"verifier": "numeric@1"}})
    client.log_artifact(run, str(values), "tables")
    client.log_text(run, LOCK, "lineage/dvc.lock")
    client.log_text(run, json.dumps(REPORT), "reports/report.json")
    client.create_registered_model("m")
    client.create_model_version("m", "file:///nowhere", run_id=run)

    shown = describe_version(open_log(workspace, "m"), "1").splitlines()
    assert shown[:9] == [
        "**m version 1**",
        "",
        "- aliases: none",
        "- reference pass@1: 0.432",
        "- policy pass@1: 0.706",
        "- gain over the reference: +0.274 (95% +0.250 to +0.298)",
        "- algorithm: grpo",
        "- verifier: numeric@1",
        "",
    ]
    assert "[pipeline run](http://prefect/runs/flow-run/4)" in shown
    assert shown[-2:] == ["- prompts: md5 22bb", "- raw prompts: md5 11aa"]
    assert not [line for line in shown if "None" in line or "{" in line]
