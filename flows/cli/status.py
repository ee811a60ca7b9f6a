"""`apo status`: which stages are up to date, and what the last run concluded as it stands now."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apo_core.errors import ApoError
from flows.cli.decisions import decision_log
from flows.cli.hints import in_workspace
from flows.cli.tables import print_summary
from tasks.dvc.state import pending
from tasks.lock import refuse_second_run
from tasks.reporting.summary import Summary, finished_summary, refresh_summary
from tasks.tracking.registry import registry_errors
from tasks.workspace import STAGES, Workspace


def print_status(workspace: Workspace, option: str = "") -> None:
    """Print which stages are up to date and the summary, or who is at work here. See `print_summary`."""
    named = str(workspace.root)  # as it was typed
    try:
        refuse_second_run(workspace)  # DVC would wait for its own locks before it says so
        changed = pending(workspace.root)
    except ApoError as busy:
        Console().print(in_workspace(str(busy), named), markup=False)
        return
    table = Table("stage", "state", title=escape(str(workspace.root.resolve())), title_justify="left")
    for stage in STAGES:
        table.add_row(stage, "[yellow]to run" if stage in changed else "[green]up to date")
    Console().print(table)
    summary = finished_summary(workspace)
    if summary is None:
        line = "There is no outcome of what is here now; `apo run` decides and registers."
        Console().print(in_workspace(line, named), markup=False)
        return
    summary, note = bring_up_to_date(workspace, summary)
    print_summary(summary, option)
    if note:
        Console().print(in_workspace(note, named), markup=False)


def bring_up_to_date(workspace: Workspace, summary: Summary) -> tuple[Summary, str]:
    """Let a summary say what registry and log say now of its version: people decide after the run.

    Returns:
        The summary, and a note to print below it: empty if the summary still holds.
    """
    if summary.model.version is None:
        return summary, ""
    try:
        with decision_log(Workspace.at(workspace.root), summary.model.name) as log, registry_errors():
            refreshed, holds = refresh_summary(log, summary)
    except ApoError as error:
        return summary, f"Aliases and approval are those of the end of the run: {error}"
    if holds:
        return refreshed, ""
    return (
        refreshed,
        "The registry has lost this version, or nobody decided in time: `apo run` takes it there again.",
    )
