"""The flows of people's decisions: the form that approves a candidate, rollback, and reconciliation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from apo_core.decisions.approval_rule import DecisionRefused
from apo_core.decisions.audit_chain import Entry
from apo_core.system.environment import prepare_command
from flows.forms import close_forms
from tasks.decisions import decide
from tasks.decisions.log import open_log
from tasks.lineage.approval_page import describe_version
from tasks.workspace import Workspace

_GRACE = 600  # seconds a form outlives its candidate: `reconcile` closes it before Prefect calls it failed


class Answer(RunInput):
    """The form. No field has a default: nobody approves by looking at it."""

    approver: str
    decision: Literal["approve", "reject"]
    reason: str


@flow(
    name="approve",
    flow_run_name="approve {model} version {version}",
    validate_parameters=False,
    retries=3,
    retry_delay_seconds=30,
)
def approve(model: str, version: str, workspace: str = ".") -> str:
    """Wait, suspended and without a process, until a person has filled the form in; then decide as it says.

    If the rules refuse an answer, the form is shown again. A decision that is made elsewhere meanwhile holds.

    Returns:
        The decision that holds for the version.

    Raises:
        ApoError: there is no such version, or registry or log refuse.
    """
    prepare_command()
    log = open_log(Workspace.at(workspace), model)
    description = describe_version(log, version)
    problem = ""
    while True:
        state = log.state()
        if state.pending is None or state.pending.version != version:
            return _conclude(model, version, state.last.get(version))
        expires = datetime.fromisoformat(state.pending.evidence["expires"])
        left = (expires - datetime.now(UTC)).total_seconds()
        form = Answer.with_initial_data(description=problem + description)
        # Prefect runs the flow anew after every answer, and gives it those that it had before.
        answer = suspend_flow_run(wait_for_input=form, timeout=max(int(left), 0) + _GRACE)
        try:
            decide.decide(log, version, answer.decision, by=answer.approver, reason=answer.reason)
        except DecisionRefused as error:
            get_run_logger().warning("refused: %s", error)
            problem = f"**Refused:** {error}\n\n"


@flow(name="rollback", flow_run_name="rollback {model}", validate_parameters=False)
def rollback(model: str, by: str, reason: str, to: str | None = None, workspace: str = ".") -> str:
    """Make a former champion the champion again, by default the one before.

    Raises:
        DecisionRefused: there is none, or another version has become champion meanwhile; nothing has changed.
        ApoError: registry or log refuse, or the aliases could not be set.
    """
    prepare_command()
    entry = decide.roll_back(open_log(Workspace.at(workspace), model), to, by=by, reason=reason)
    if entry is None:
        return f"{model}: this rollback was made before; nothing has changed"
    text = f"{model}: version {entry.version} is champion again"
    create_markdown_artifact(f"{text}, by {entry.by}: {entry.reason}", key="rollback")
    return text


@flow(name="reconcile", flow_run_name="reconcile {model}", validate_parameters=False)
def reconcile(model: str, workspace: str = ".") -> list[str]:
    """Take up decisions from MLflow's page, close a candidate that is out of time, and set the aliases right.

    Returns:
        A line for everything that was done.
    """
    prepare_command()
    log = open_log(Workspace.at(workspace), model)
    done = decide.reconcile(log)
    pending = log.state().pending
    done += close_forms(model, keep=None if pending is None else pending.version)
    for line in done or ["nothing to do"]:
        get_run_logger().info(line)
    return done


def _conclude(model: str, version: str, last: Entry | None) -> str:
    standing = "was never a candidate" if last is None else f"{last.event} by {last.by}: {last.reason}"
    text = f"{model} version {version}: {standing}"
    get_run_logger().info(text)
    create_markdown_artifact(text, key="approval")
    return text
