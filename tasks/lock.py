"""Allow one run per workspace, by a lock that the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from apo_core.errors import ApoError
from tasks.workspace import Workspace, check_writable

_KILL_SECONDS = 60.0  # to wait for a process that is being killed
_LOOK_SECONDS = 1.0  # to wait for a process that only looks whether a run is at work


@contextmanager
def only_run(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for the length of the block.

    Raises:
        ApoError: another run holds the workspace; names its process and last line of output. Or the
            workspace cannot be written.
    """
    check_writable(workspace)
    workspace.state.mkdir(parents=True, exist_ok=True)
    # Opened for appending: a run that is refused must not erase the holder's process number.
    with (workspace.state / "run.lock").open("a+", encoding="utf-8") as file:
        if not _lock(file, fcntl.LOCK_EX, _LOOK_SECONDS):
            raise _busy(workspace, file)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        note_progress(workspace, "")
        yield


def refuse_second_run(workspace: Workspace) -> None:
    """Refuse while a run is at work, without a lock that would keep a run from starting.

    Raises:
        ApoError: a run is at work; names its process and last line of output.
    """
    if is_run_at_work(workspace):
        with (workspace.state / "run.lock").open(encoding="utf-8") as file:
            raise _busy(workspace, file)


def is_run_at_work(workspace: Workspace) -> bool:
    """Whether a run is at work in a workspace, this process's own or another's."""
    lock = workspace.state / "run.lock"
    if not lock.exists():
        return False
    with lock.open(encoding="utf-8") as file:
        return not _lock(file, fcntl.LOCK_SH, 0.0)


def _lock(file: TextIO, kind: int, wait_seconds: float) -> bool:
    """Take a lock of that kind; False where another process still holds it after so many seconds."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError as error:
            raise ApoError(
                f"{Path(file.name).resolve().parent}: its file system keeps no locks ({error.strerror}), so "
                "two runs could work at once; put the workspace on a disk of this machine"
            ) from None
        else:
            return True


def _busy(workspace: Workspace, file: TextIO) -> ApoError:
    file.seek(0)
    holder = f"process {file.read().strip() or 'unknown'}{_progress(workspace)}"
    return ApoError(f"{workspace.root}: another run is at work here ({holder})")


@contextmanager
def only_process(workspace: Workspace, stage: str) -> Iterator[None]:
    """Hold a stage's unfinished work for the length of the block; waits for a process that is being killed.

    Ranks on other machines may outlive the run that started them.

    Raises:
        ApoError: another process holds it for longer than a minute.
    """
    file = workspace.work(stage).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as held:
        if not _lock(held, fcntl.LOCK_EX, _KILL_SECONDS):
            raise ApoError(f"{stage}: another process is still at work on it")
        yield


def note_progress(workspace: Workspace, line: str) -> None:
    """Record a run's last line of output for `refuse_second_run`; a full disk does not end the run."""
    with suppress(OSError):
        workspace.state.mkdir(parents=True, exist_ok=True)
        _progress_file(workspace).write_text(line, encoding="utf-8")


def _progress(workspace: Workspace) -> str:
    file = _progress_file(workspace)
    line = file.read_text(encoding="utf-8") if file.exists() else ""
    return line and f"; {line}"


def _progress_file(workspace: Workspace) -> Path:
    return workspace.state / "run.progress"
