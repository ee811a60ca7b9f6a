"""Alerts: the flow that sends a failure which a run could not send itself, started by Prefect's triggers."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from apo_core.errors import ApoError
from apo_core.system.environment import prepare_command
from tasks.notify import URL, check_secret, notify

_NOTIFIED_LABEL = "notified"  # of a run on the Prefect server: the message of its failure has arrived
_SILENT = "{}: Running, without a sign of life; if its host is gone, cancel it on its page and start another"


def mark_as_notified(run: FlowRun) -> None:
    """Label a run on the Prefect server: the message of its failure has arrived."""
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run.id, {_NOTIFIED_LABEL: True})


def describe_failure(run: FlowRun, state: State[Any]) -> str:
    """Name the run and how it ended, in one line."""
    reason = (state.message or "").strip().splitlines() or [""]
    return f"{run.name}: {state.name}: {reason[0]}"


@flow(
    name="alert",
    flow_run_name="alert about {run}",
    validate_parameters=False,
    retries=3,
    retry_delay_seconds=60,
)
def alert(model: str, run: str, silent: bool = False) -> str:
    """Send the failure of a run that failed or crashed before or outside its own code, unless it was sent.

    Args:
        model: name of the deployments.
        run: `prefect.flow-run.ID`, as Prefect's events name it.
        silent: the run has not ended, but given no sign of life for a while.

    Returns:
        The text that was sent, or why nothing was.

    Raises:
        ApoError: the webhook does not take the message.
    """
    prepare_command()
    check_secret()
    with get_client(sync_client=True) as client:
        failed = client.read_flow_run(UUID(run.removeprefix("prefect.flow-run.")))
        deployment = f"{client.read_flow(failed.flow_id).name}/{model}"
    state = failed.state
    if failed.labels.get(_NOTIFIED_LABEL):
        return f"{deployment}: {failed.name} has sent its failure itself"
    if state is None or not (state.is_running() if silent else state.is_failed() or state.is_crashed()):
        return f"{deployment}: {failed.name} needs no alert any more: {state}"
    text = f"{deployment}: {_SILENT.format(failed.name) if silent else describe_failure(failed, state)}"
    page = url_for("flow-run", obj_id=failed.id)
    links = {} if page is None else {"run": page}
    arrived = notify("failure", model, text, links, get_run_logger().warning)
    if os.environ.get(URL) and not arrived:
        raise ApoError("the webhook has not taken the message")
    if arrived and not silent:  # a silent run may still fail
        mark_as_notified(failed)
    return text
