"""Failures that a run could not tell of itself: the flow that the triggers of `prefect.yaml` start."""

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
from tasks.notify import URL, check_settings, notify

_TOLD = "told"  # label of a run whose failure has arrived where it is to be known
_SILENT = "{}: Running, without a sign of life; if its host is gone, cancel it on its page and start another"


def mark_told(run: FlowRun) -> None:
    """Note on the server that a run's failure has been told."""
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run.id, {_TOLD: True})


def failure_of(run: FlowRun, state: State[Any]) -> str:
    """One line: the run, and how it ended."""
    reason = (state.message or "").strip().splitlines() or [""]
    return f"{run.name}: {state.name}: {reason[0]}"


@flow(
    name="tell", flow_run_name="tell of {run}", validate_parameters=False, retries=3, retry_delay_seconds=60
)
def tell(model: str, run: str, silent: bool = False) -> str:
    """Tell of a run that failed or crashed before or outside its own code, unless it has done so itself.

    Args:
        model: name of the deployments.
        run: `prefect.flow-run.ID`, as Prefect's events name it.
        silent: it has not ended, but given no sign of life for a while.

    Returns:
        What was said, or why nothing was.

    Raises:
        ApoError: the webhook does not take the message.
    """
    prepare_command()
    check_settings()
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(run.removeprefix("prefect.flow-run.")))
        deployment = f"{client.read_flow(found.flow_id).name}/{model}"
    state = found.state
    if found.labels.get(_TOLD):
        return f"{deployment}: {found.name} has told of itself"
    if state is None or not (state.is_running() if silent else state.is_failed() or state.is_crashed()):
        return f"{deployment}: {found.name} is beyond that: {state}"
    text = f"{deployment}: {_SILENT.format(found.name) if silent else failure_of(found, state)}"
    page = url_for("flow-run", obj_id=found.id)
    links = {} if page is None else {"run": page}
    arrived = notify("failure", model, text, links, get_run_logger().warning)
    if os.environ.get(URL) and not arrived:
        raise ApoError("the webhook has not taken the message")
    if arrived and not silent:  # what was silent may still fail
        mark_told(found)
    return text
