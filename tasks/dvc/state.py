"""Ask DVC which stages have changed, and repair its records where a kill has damaged them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo_core.errors import ApoError, error_in_words
from apo_core.system.files import replacing
from tasks.dvc.repo import DamagedRecord, WorkspaceBusy, opened_repo
from tasks.workspace import STAGES, Workspace

if TYPE_CHECKING:
    from dvc.stage import Stage

_RUNNING = ".dvc/tmp/rwlock"  # DVC's record of running stages


class UnreadableFile(ApoError):
    """The disk, or its permissions, refuse a file."""


def pending(workspace: Path, stages: list[str] | None = None) -> list[str]:
    """The stages that have changed, of those named or of all, in order; in-process, so that it costs little.

    Raises:
        WorkspaceBusy: a stage is running.
        UnreadableFile: an input or output cannot be read.
        DamagedRecord: DVC's record is damaged, and no whole copy of it is left.
        ApoError: the directory is no DVC workspace, or git ignores it.
    """
    drop_dead_locks(workspace)
    # Whole addresses: DVC resolves a bare name in the current directory, and answers with paths from there.
    targets = stages and [f"{(workspace / 'dvc.yaml').resolve()}:{stage}" for stage in stages]
    try:
        with opened_repo(workspace) as repo:
            # DVC skips what git ignores without a word, and calls it up to date.
            if repo.scm.is_ignored(str((workspace / "dvc.yaml").resolve())):
                raise ApoError(f"{workspace}: git ignores it, and so does DVC; see .gitignore")
            changed = {address.rpartition(":")[2] for address in repo.status(targets=targets)}
            return [stage for stage in STAGES if stage in changed]
    except DamagedRecord:
        file = Workspace(workspace).lock
        if _has_conflict(file):
            raise ApoError(
                f"{file}: has merge conflicts; take one side, by git checkout --ours or "
                "--theirs dvc.lock, or the whole lines of both: stages that it then lacks run again"
            ) from None
        if _restore_record(Workspace(workspace)):
            return pending(workspace, stages)
        raise
    except OSError as error:
        raise UnreadableFile(error_in_words(error)) from None


@contextmanager
def dvc_held_off(workspace: Path) -> Iterator[Callable[[], set[str]]]:
    """Keep DVC's other commands out of a workspace for the length of the block.

    Yields:
        A function that names the stages which have other inputs, parameters or another command than
            `dvc.lock` says: what they wrote, or will write, is not what is recorded.

    Raises:
        WorkspaceBusy: DVC is at work there.
        ApoError: as `pending`.
    """
    from dvc.repo import lock_repo

    with suppress(UnreadableFile):
        pending(workspace)  # puts a damaged record back
    with opened_repo(workspace) as repo, lock_repo(repo):
        if _at_work(workspace):  # a running stage has released the lock
            raise WorkspaceBusy(f"{workspace}: DVC is at work here; try again when it is done")
        yield lambda: {_name(stage) for stage in repo.index.stages if _has_other_inputs(stage)}


def _name(stage: Stage) -> str:
    return str(stage.addressing).rpartition(":")[2]


def _has_other_inputs(stage: Stage) -> bool:
    try:
        return bool(stage.changed_deps() or stage.changed_stage())
    except OSError:  # an input that cannot be read
        return True


def keep_record(workspace: Workspace) -> None:
    """Keep a copy of `dvc.lock`: DVC writes it in place, and a kill in that moment damages it."""
    if workspace.lock.exists():
        with replacing(workspace.kept_lock) as temporary:
            shutil.copyfile(workspace.lock, temporary)


def _has_conflict(lock: Path) -> bool:
    """Whether git's marks of a merge that is not resolved are in `dvc.lock`."""
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.exists() else ""
    return any(line.startswith(("<<<<<<< ", ">>>>>>> ")) for line in text.splitlines())


def _restore_record(workspace: Workspace) -> bool:
    """Put the copy back where `dvc.lock` is cut off; at most the last stage is then run again."""
    kept = workspace.kept_lock
    if not kept.exists() or not workspace.lock.exists() or _is_whole(workspace.lock) or not _is_whole(kept):
        return False
    aside = workspace.damaged / f"dvc.lock.{time.time_ns()}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(workspace.lock, aside)
    with replacing(workspace.lock) as temporary:
        shutil.copyfile(kept, temporary)
    return True


def _is_whole(lock: Path) -> bool:
    """Whether a `dvc.lock` is what DVC writes."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        record = COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(lock))
    except (YAMLError, UnicodeDecodeError, Invalid):
        return False
    return "stages" in record


def drop_dead_locks(workspace: Path) -> None:
    """Remove DVC's record of running stages where none of them runs.

    DVC removes records of processes that are gone, but takes a killed process that is not yet reaped for a
    running one, and also a new process that has the number of one that is gone.
    """
    record = workspace / _RUNNING
    if record.exists() and os.access(record.parent, os.W_OK) and not _at_work(workspace):
        record.unlink(missing_ok=True)


def _at_work(workspace: Path) -> bool:
    """Whether a stage runs, by DVC's record of them."""
    record = workspace / _RUNNING
    try:
        written = record.stat().st_mtime
        holders = _holders(json.loads(record.read_text(encoding="utf-8", errors="replace") or "{}"))
    except (FileNotFoundError, JSONDecodeError):  # DVC was killed while it wrote
        return False
    return any(_alive(pid, written) for pid in holders)


def _holders(entry: object) -> set[int]:
    """The numbers of all processes that DVC's record names, at any depth."""
    if isinstance(entry, dict):
        own = {entry["pid"]} if isinstance(entry.get("pid"), int) else set()
        return own.union(*map(_holders, entry.values()))
    return set().union(*map(_holders, entry)) if isinstance(entry, list) else set()


def _alive(pid: int, written: float) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        return process.create_time() <= written + 1  # a second for the clocks' resolution
    except psutil.NoSuchProcess:
        return False
