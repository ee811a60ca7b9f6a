"""A run whose process was killed stays "Running" at Prefect: the next run, or `apo ui`, marks it as crashed.

A workspace notes every Prefect run that begins in it, before anything else. Whoever holds the lock that only
one run holds finds in this note the runs that have ended, however they ended.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.states import Crashed

from flows.note import read_note, write_note
from tasks.lock import is_run_at_work
from tasks.workspace import Workspace

_MESSAGE = "its process ended before the run did"


def note_run(workspace: Workspace, run_id: str) -> None:
    """Note a Prefect run that begins, beside those that are noted."""
    write_note(_file(workspace), workspace, " ".join(dict.fromkeys([*_noted(workspace), run_id])))


def close_dead_runs(workspace: Workspace, own_id: str | None = None) -> None:
    """Mark the noted runs, and their tasks, as crashed where Prefect still shows them as running.

    What Prefect's page shows is no reason to end a run: a server that refuses gets a line in the log.

    Args:
        workspace: has the note.
        own_id: the run that calls this, which holds the workspace's lock; Prefect may start a run again
            under the number it had. Without it a noted run may still be at work, and all are then left alone.
    """
    dead = [run_id for run_id in _noted(workspace) if run_id != own_id]
    if own_id is None and is_run_at_work(workspace):  # asked after the note was read: it may be newer
        return
    for run_id in dead:
        try:
            _close(UUID(run_id))
        except (httpx.HTTPError, ValueError) as error:
            get_logger(__name__).warning("a run before this one stays as Prefect shows it: %s", error)
    if dead:
        write_note(_file(workspace), workspace, own_id or "")


def _noted(workspace: Workspace) -> list[str]:
    return (read_note(_file(workspace), workspace) or "").split()


def _close(run_id: UUID) -> None:
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(run_id)
        except ObjectNotFound:  # another server's, or deleted
            return
        for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))):
            if _is_open(task.state):
                client.set_task_run_state(task.id, Crashed(message=_MESSAGE), force=True)
        if _is_open(run.state):
            client.set_flow_run_state(run_id, Crashed(message=_MESSAGE), force=True)


def _is_open(state: State | None) -> bool:
    return state is not None and (state.is_running() or state.is_pending() or state.is_cancelling())


def _file(workspace: Workspace) -> Path:
    return workspace.state / "run.prefect"
