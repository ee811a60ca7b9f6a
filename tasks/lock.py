"""One run a workspace: a lock that the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from apo_core.errors import ApoError
from tasks.workspace import Workspace


@contextmanager
def only_run(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for the length of the block.

    Raises:
        ApoError: another run holds it; names the process.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    # Opened for appending: a run that is refused must not wipe out the holder's number.
    with (workspace.state / "run.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ApoError(f"{workspace.root}: another run is at work here (process {holder})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def refuse_second_run(workspace: Workspace) -> None:
    """Look whether a run is at work, and hold nothing: a look must not keep a run from starting.

    Raises:
        ApoError: one is; names the process.
    """
    with only_run(workspace):
        pass
