"""One run a workspace: a lock that the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from apo_core.errors import ApoError
from tasks.workspace import Workspace

_PATIENCE = 60.0  # seconds


@contextmanager
def only_run(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for the length of the block.

    Raises:
        ApoError: another run holds it; names the process and how far it is.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    # Opened for appending: a run that is refused must not wipe out the holder's number.
    with (workspace.state / "run.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = f"process {file.read().strip() or 'unknown'}{_progress(workspace)}"
            raise ApoError(f"{workspace.root}: another run is at work here ({holder})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        note_progress(workspace, "")
        yield


def refuse_second_run(workspace: Workspace) -> None:
    """Look whether a run is at work, and hold nothing: a look must not keep a run from starting.

    Raises:
        ApoError: one is; names the process and how far it is.
    """
    with only_run(workspace):
        pass


@contextmanager
def only_process(workspace: Workspace, stage: str) -> Iterator[None]:
    """Hold a stage's unfinished work for the length of the block; one that is being killed is waited for.

    Ranks on other machines may outlive the run that started them.

    Raises:
        ApoError: another process keeps it.
    """
    file = workspace.work(stage).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as held:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ApoError(f"{stage}: another process is still at work on it") from None
                time.sleep(0.2)
        yield


def note_progress(workspace: Workspace, line: str) -> None:
    """Let whoever looks at a run know what it last said; a disk that is full is no reason to end the run."""
    with suppress(OSError):
        workspace.state.mkdir(parents=True, exist_ok=True)
        _progress_file(workspace).write_text(line, encoding="utf-8")


def _progress(workspace: Workspace) -> str:
    file = _progress_file(workspace)
    line = file.read_text(encoding="utf-8") if file.exists() else ""
    return line and f"; {line}"


def _progress_file(workspace: Workspace) -> Path:
    return workspace.state / "run.progress"
