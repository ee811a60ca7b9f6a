"""The flows of people's decisions: the form that approves a candidate, the way back, what keeps both true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.utilities.urls import url_for

from apo_core.approvals import DecisionRefused, state_of
from apo_core.audit import Entry
from tasks import approve as decisions
from tasks.audit_store import AuditStore, open_store, read_log
from tasks.lineage import describe_version
from tasks.tracking import connect
from tasks.workspace import Workspace

APPROVE = "approve/approve"  # the deployment that a pipeline run asks for
_SECONDS = 10 * 365 * 86400  # what Prefect takes for a timeout ends somewhere


class Answer(RunInput):
    """The form. No field has a default: nobody approves by looking at it."""

    approver: str
    decision: Literal["approve", "reject"]
    reason: str


@flow(name="approve", flow_run_name="approve {model} version {version}", validate_parameters=False)
def approve(model: str, version: str, workspace: str = ".") -> str:
    """Wait, suspended and without a process, until a person has filled the form in; then decide by it.

    An answer that the rules refuse is asked for again. A decision that is made elsewhere meanwhile holds.

    Returns:
        What holds for the version now.

    Raises:
        ApoError: there is no such version, or registry or log refuse.
    """
    place = Workspace.at(workspace)
    client, store = connect(place), open_store(place)
    description = describe_version(client, store, model, version)
    problem = ""
    while True:
        waiting = _waiting(store, model, version)
        if waiting is None:
            return _conclude(store, model, version)
        seconds = (datetime.fromisoformat(waiting.evidence["expires"]) - datetime.now(UTC)).total_seconds()
        form = Answer.with_initial_data(description=problem + description)
        # Prefect runs the flow anew after every answer, and gives it those that it had before.
        answer = suspend_flow_run(wait_for_input=form, timeout=min(max(int(seconds), 1), _SECONDS))
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
        ApoError: there is none, or registry or log refuse; nothing has changed.
    """
    place = Workspace.at(workspace)
    entry = decisions.roll_back(connect(place), open_store(place), model, to, by=by, reason=reason)
    text = f"{model}: version {entry.version} is champion again"
    create_markdown_artifact(f"{text}, by {entry.by}: {entry.reason}", key="rollback")
    return text


@flow(name="reconcile", flow_run_name="reconcile {model}", validate_parameters=False)
def reconcile(model: str, workspace: str = ".") -> list[str]:
    """Take up decisions from MLflow's page, close what is out of time, and set the registry's aliases right.

    Returns:
        A line for everything that was done.
    """
    place = Workspace.at(workspace)
    done = decisions.reconcile(connect(place), open_store(place), model)
    for line in done or ["nothing to do"]:
        get_run_logger().info(line)
    return done


def ask_for_approval(model: str, version: str) -> str | None:
    """Start the `approve` deployment for a candidate, once; its run's page, or None where there is none."""
    from prefect.deployments import run_deployment

    try:
        run = run_deployment(
            APPROVE,
            parameters={"model": model, "version": version},
            timeout=0,
            as_subflow=False,  # a part of another run cannot be suspended
            idempotency_key=f"approve {model} {version}",
        )
    except ObjectNotFound:
        return None
    return url_for("flow-run", obj_id=run.id) or str(run.id)


def _waiting(store: AuditStore, model: str, version: str) -> Entry | None:
    pending = state_of(read_log(store, model)).pending
    return pending if pending is not None and pending.version == version else None


def _conclude(store: AuditStore, model: str, version: str) -> str:
    last = state_of(read_log(store, model)).last.get(version)
    text = (
        f"{model} version {version}: was never a candidate"
        if last is None
        else f"{model} version {version}: {last.event} by {last.by}: {last.reason}"
    )
    get_run_logger().info(text)
    create_markdown_artifact(text, key="approval")
    return text
