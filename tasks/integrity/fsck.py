"""Look at all bytes of a workspace: outputs, DVC's cache and remote, checkpoints, databases, the registry."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from apo_core.errors import ApoError, error_in_words
from tasks.decisions.log import open_log, open_store
from tasks.decisions.rebuild import lost_in_words, lost_versions
from tasks.dvc.state import dvc_held_off
from tasks.integrity.aside import put_aside
from tasks.integrity.copies import CopyStore, opened
from tasks.integrity.copy_check import CopyCheck
from tasks.integrity.finding import Finding
from tasks.integrity.recorded import recorded_outputs
from tasks.integrity.versions import check_runs, check_versions
from tasks.tracking.store import has_registry
from tasks.workspace import Workspace


def fsck(workspace: Workspace, model: str, *, mend: bool) -> Iterator[Finding]:
    """Compare bytes with what is recorded of them, everywhere.

    What is damaged is moved to `.apo/damaged`, never deleted.

    Args:
        workspace: the caller holds its lock.
        model: the registered model, `tracking.model`.
        mend: put whole copies in the place of damaged ones, where there are any.

    Raises:
        WorkspaceBusy: DVC is at work in the workspace.
        ApoError: DVC's remote or the registry cannot be reached.
        StageFailed: the same, where another try may help.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    registry = workspace.state / "mlflow.db"
    damaged = _damaged_databases(workspace)
    yield from damaged.values()
    with (
        dvc_held_off(workspace.root) as changed_stages,
        opened(workspace, "cache") as cache,
        opened(workspace, "remote") as remote,
    ):
        assert cache is not None
        check = CopyCheck(workspace=workspace, cache=cache, remote=remote, mend=mend)
        yield from _check_outputs(check, changed_stages)
        yield from _going_on("cache", check.check_earlier())
        yield from _going_on("training", _check_checkpoints(workspace, mend=mend))
        if registry in damaged:
            problem = f"was not looked at: {registry} is damaged"
            yield Finding("registry", problem, advice="`apo fsck` when the registry is whole again")
        else:
            stores = [cache] if remote is None else [cache, remote]
            yield from _going_on("registry", _check_registry(workspace, model, stores, mend=mend))


def _check_outputs(check: CopyCheck, changed_stages: Callable[[], set[str]]) -> Iterator[Finding]:
    """Look at what stages wrote, those first whose inputs are as recorded: others read them."""
    left = recorded_outputs(check.workspace)
    while left:
        changed = changed_stages()
        current = [output for output in left if output.stage not in changed]
        for output in current or left:
            findings = check.check(output, is_current=bool(current))
            yield from _going_on("workspace", findings, f"{output.path}: ")
        left = [output for output in left if output.stage in changed] if current else []


def _going_on(where: str, findings: Iterator[Finding], what: str = "") -> Iterator[Finding]:
    """The same findings; a file or directory that cannot be read, moved or written is one, and ends them."""
    try:
        yield from findings
    except OSError as error:
        problem = f"{what}{error_in_words(error)}"
        yield Finding(where, problem, advice="see to the disk and its permissions, then `apo fsck`")


def _check_registry(
    workspace: Workspace, model: str, stores: list[CopyStore], *, mend: bool
) -> Iterator[Finding]:
    """The log of decisions, the versions that it names, and their files."""
    if not has_registry(workspace):
        if open_store(workspace).names(model):
            problem = "is not there, and the log has decisions on it"
            yield Finding("registry", problem, advice=f"`apo reconcile {model}`")
        return
    log = open_log(workspace, model)
    try:
        if lost := lost_versions(log):
            yield Finding("registry", lost_in_words(model, lost), advice=f"`apo reconcile {model}`")
    except ApoError as error:
        yield Finding("decisions", str(error), advice="see the page Approvals")
    yield from check_versions(log.client, workspace, model, stores, mend=mend)
    yield from check_runs(log.client, workspace, model, stores, mend=mend)


def _check_checkpoints(workspace: Workspace, *, mend: bool) -> Iterator[Finding]:
    """Checkpoints of an unfinished training."""
    from apo_core.training.checkpoint import damage_of, saved_in  # torch takes seconds

    for checkpoint in saved_in(workspace.work("train") / "checkpoints"):
        damage = damage_of(checkpoint)
        if damage is None:
            continue
        if mend:
            put_aside(workspace, checkpoint.directory, f"checkpoints/{checkpoint.directory.name}")
        done = "moved away: the training goes on from the checkpoint before it" if mend else ""
        yield Finding("training", f"{checkpoint.directory}: {damage}", done, "apo fsck")


def _damaged_databases(workspace: Workspace) -> dict[Path, Finding]:
    """The embedded databases that are damaged, as sqlite checks them, or cannot be looked at."""
    again = {
        workspace.state / "mlflow.db": "`apo reconcile` makes the registry again from the log of decisions",
        workspace.prefect_home
        / "prefect.db": "the next run makes another; the pages of earlier runs are lost",
    }
    findings = {}
    for file, what_then in again.items():
        problem = _sqlite_problem(file) if file.exists() and file.stat().st_size else None
        if problem is not None:
            advice = f"if it can be read: keep a copy of {file} elsewhere and remove it; {what_then}"
            findings[file] = Finding("databases", f"{file}: {problem}", advice=advice)
    return findings


def _sqlite_problem(file: Path) -> str | None:
    """What is damaged in a database, or why it cannot be looked at."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60)) as database:
            (answer,) = database.execute("PRAGMA quick_check").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if answer == "ok" else str(answer)
