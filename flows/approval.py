"""The flows of people's decisions: the form that approves a candidate, the way back, what keeps both true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from apo_core.decisions.approval_rule import DecisionRefused, state_of
from apo_core.decisions.audit_chain import Entry
from apo_core.system.environment import prepare_command
from flows.forms import close_forms
from tasks.decisions import approve as decisions
from tasks.decisions.aliases import read
from tasks.decisions.log import open_store
from tasks.lineage.approval_page import describe_version
from tasks.tracking.runs import connect
from tasks.workspace import Workspace

_LATE = (
    600  # seconds that a form outlives its candidate: `reconcile` closes it before Prefect calls it failed
)


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
    """Wait, suspended and without a process, until a person has filled the form in; then decide by it.

    An answer that the rules refuse is asked for again. A decision that is made elsewhere meanwhile holds.

    Returns:
        What holds for the version now.

    Raises:
        ApoError: there is no such version, or registry or log refuse.
    """
    prepare_command()
    place = Workspace.at(workspace)
    client, store = connect(place), open_store(place)
    description = describe_version(client, store, model, version)
    problem = ""
    while True:
        state = state_of(read(client, store, model))
        if state.pending is None or state.pending.version != version:
            return _conclude(model, version, state.last.get(version))
        expires = datetime.fromisoformat(state.pending.evidence["expires"])
        left = (expires - datetime.now(UTC)).total_seconds()
        form = Answer.with_initial_data(description=problem + description)
        # Prefect runs the flow anew after every answer, and gives it those that it had before.
        answer = suspend_flow_run(wait_for_input=form, timeout=max(int(left), 0) + _LATE)
        try:
            decisions.decide(
                client, store, model, version, answer.decision, by=answer.approver, reason=answer.reason
            )
        except DecisionRefused as error:
            get_run_logger().warning("refused: %s", error)
            problem = f"**Refused:** {error}\n\n"


@flow(name="rollback", flow_run_name="rollback {model}", validate_parameters=False)
def rollback(model: str, by: str, reason: str, to: str | None = None, workspace: str = ".") -> str:
    """Give production back to an earlier champion, by default to the one before.

    Raises:
        DecisionRefused: there is none, or another champion meanwhile; nothing has changed.
        ApoError: registry or log refuse, or the registry does not follow.
    """
    prepare_command()
    place = Workspace.at(workspace)
    entry = decisions.roll_back(connect(place), open_store(place), model, to, by=by, reason=reason)
    if entry is None:
        return f"{model}: said before; nothing has changed"
    text = f"{model}: version {entry.version} is champion again"
    create_markdown_artifact(f"{text}, by {entry.by}: {entry.reason}", key="rollback")
    return text


@flow(name="reconcile", flow_run_name="reconcile {model}", validate_parameters=False)
def reconcile(model: str, workspace: str = ".") -> list[str]:
    """Take up decisions from MLflow's page, close what is out of time, and set the registry's aliases right.

    Returns:
        A line for everything that was done.
    """
    prepare_command()
    place = Workspace.at(workspace)
    client, store = connect(place), open_store(place)
    done = decisions.reconcile(client, store, model)
    pending = state_of(read(client, store, model)).pending
    done += close_forms(model, but=None if pending is None else pending.version)
    for line in done or ["nothing to do"]:
        get_run_logger().info(line)
    return done


def _conclude(model: str, version: str, last: Entry | None) -> str:
    said = "was never a candidate" if last is None else f"{last.event} by {last.by}: {last.reason}"
    text = f"{model} version {version}: {said}"
    get_run_logger().info(text)
    create_markdown_artifact(text, key="approval")
    return text
