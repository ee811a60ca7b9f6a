"""`apo status` on a version that was decided on after the run."""

import pytest

from flows.cli.status import bring_up_to_date
from flows.workspaces import load_preset
from tasks.decisions.decide import decide, propose
from tasks.decisions.log import open_log
from tasks.reporting.summary import ApprovalBlock, DecisionBlock, ModelBlock, Summary
from tasks.tracking.registry import find
from tasks.workspace import Workspace

MODEL = "apo-status"
RULES = load_preset("ci").promotion.model_copy(update={"approval": "manual"})
SUMMARY = Summary.model_construct(
    model=ModelBlock(name=MODEL, version="1", aliases=["candidate"]),
    decision=DecisionBlock(outcome="promote", reason="better"),
    approval=ApprovalBlock(event="candidate", by="Bob", reason="better", time="noon", waits=True),
)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "APO_AUDIT_URI"):
        monkeypatch.delenv(name, raising=False)
    return Workspace(tmp_path)


@pytest.mark.slow
def test_a_decision_after_the_run_is_shown(workspace):
    log = open_log(workspace, MODEL)
    client = log.client
    client.create_registered_model(MODEL)
    client.create_model_version(MODEL, "file:///nowhere")
    propose(log, find(client, MODEL, "1"), RULES, started_by="Bob", evidence={})

    shown, note = bring_up_to_date(workspace, SUMMARY)
    assert (shown.approval.waits, note) == (True, "")
    decide(log, "1", "approve", by="Ada", reason="reads well")
    shown, note = bring_up_to_date(workspace, shown)
    assert note == ""
    assert shown.model.aliases == ["candidate", "champion"]
    assert (shown.approval.event, shown.approval.by) == ("approved", "Ada")
    assert not shown.approval.waits

    client.delete_model_version(MODEL, "1")
    assert "`apo run` takes it there again" in bring_up_to_date(workspace, shown)[1]


def test_where_nobody_can_be_asked_it_says_so(workspace):
    shown, note = bring_up_to_date(workspace, SUMMARY)
    assert shown == SUMMARY
    assert note.startswith("Aliases and approval are those of the end of the run: ")
    unregistered = SUMMARY.model_copy(update={"model": SUMMARY.model.model_copy(update={"version": None})})
    assert bring_up_to_date(workspace, unregistered) == (unregistered, "")
    assert list(workspace.root.iterdir()) == []
