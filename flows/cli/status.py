"""`apo status`: which stages are up to date, and what the last run concluded as it stands now."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apo_core.errors import ApoError
from flows.cli.decisions import decision_log
from flows.cli.tables import print_summary
from tasks.dvc.state import pending
from tasks.lineage.summary import finished_summary, registry_agrees
from tasks.lock import refuse_second_run
from tasks.tracking.registry import registry_errors
from tasks.workspace import STAGES, Workspace


def print_status(workspace: Workspace, option: str = "") -> None:
    """Print which stages are up to date and the summary, or who is at work here. See `print_summary`."""
    try:
        refuse_second_run(workspace)  # DVC would wait for its own locks before it says so
        changed = pending(workspace.root)
    except ApoError as busy:
        Console().print(str(busy), markup=False)
        return
    table = Table("stage", "state", title=escape(str(workspace.root.resolve())), title_justify="left")
    for stage in STAGES:
        table.add_row(stage, "[yellow]to run" if stage in changed else "[green]up to date")
    Console().print(table)
    summary = finished_summary(workspace)
    if summary is None:
        Console().print("There is no outcome of what is here now; `apo run` decides and registers.")
        return
    note = bring_up_to_date(workspace, summary)
    print_summary(summary, option)
    if note:
        Console().print(note, markup=False)


def bring_up_to_date(workspace: Workspace, summary: dict[str, Any]) -> str:
    """Let a summary say what registry and log say now of its version, which people decide on after the run.

    Returns:
        What is to be said beside it; nothing where it is as it should be.
    """
    if summary["model"]["version"] is None:
        return ""
    try:
        with decision_log(Workspace.at(workspace.root), summary["model"]["name"]) as log, registry_errors():
            agrees = registry_agrees(log, summary)
    except ApoError as error:
        return f"Aliases and approval are those of the end of the run: {error}"
    return (
        ""
        if agrees
        else "The registry has lost this version, or nobody decided in time: `apo run` takes it there again."
    )
