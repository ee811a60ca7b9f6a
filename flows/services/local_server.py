"""Starting and ending local servers, so that none outlives what started it."""

from __future__ import annotations

import logging
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path

from apo_core.errors import ApoError
from apo_core.system.environment import MLFLOW_SERVER, PREFECT_SERVER, as_env, use_prefect_api
from apo_core.system.loopback import HOST, check_loopback, free_port, listening
from apo_core.system.processes import end_session, python_module, start_session
from flows.note import read_note, write_note
from flows.services.watch import check_api, reported, restarted
from tasks.workspace import Workspace

_STARTUP_SECONDS = 120
_STOP_SECONDS = 15


@contextmanager
def prefect_api(workspace: Workspace) -> Iterator[Callable[[], None]]:
    """Point Prefect at an API for the length of the block.

    The user's own (`PREFECT_API_URL`), else that of a running `apo ui`, else a temporary one. Prefect's own
    temporary server is not used because it lives on when its run is killed.

    Yields:
        What waits for the server: importing Prefect takes as long as starting it, and both go on at once.
    """
    own = os.environ.get("PREFECT_API_URL")
    if own is not None:
        check_api(own)
        with reported(own):
            yield lambda: None
        return
    log = workspace.state / "logs/prefect.log"
    shown = _shown_by_ui(workspace)
    if shown is not None:
        print(f"this run is on the pages of `apo ui`, by its server at {shown}", flush=True)
        port = int(shown.rpartition(":")[2].partition("/")[0])
        use_prefect_api(shown)
        with restarted(shown, lambda: start_again(prefect_command(port), log), stop):
            yield lambda: None
        return
    check_loopback()
    port = free_port()
    process = start(prefect_command(port), log)  # with its services: one of them records task runs
    try:
        address = f"http://{HOST}:{port}/api"
        use_prefect_api(address)

        def wait() -> None:
            wait_until_listening("Prefect", port, process, log)
            watched.enter_context(restarted(address, lambda: start_again(prefect_command(port), log), stop))

        with ExitStack() as watched:
            yield wait
    finally:
        # What the run logged last is still on its way to the server.
        for handler in logging.getLogger("prefect.flow_runs").handlers:
            handler.flush()
        stop(process)


@contextmanager
def announced(workspace: Workspace, port: int) -> Iterator[None]:
    """Let runs of this workspace find the Prefect API that is served here."""
    file = _announcement(workspace)
    write_note(file, workspace, f"http://{HOST}:{port}/api")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _shown_by_ui(workspace: Workspace) -> str | None:
    url = read_note(_announcement(workspace), workspace)
    if url is None:
        return None
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return url if answer.read() == b"true" else None
    except (OSError, HTTPException, ValueError):  # it was killed before it could take the file away
        return None


def _announcement(workspace: Workspace) -> Path:
    return workspace.state / "prefect-api"


def prefect_command(port: int) -> list[str]:
    """A Prefect server on loopback."""
    return python_module("prefect", "server", "start", "--host", HOST, "--port", str(port))


def start(command: list[str], log: Path, **env: str) -> subprocess.Popen[bytes]:
    """Start a server that ends with this process, with more environment variables; log its output."""
    log.unlink(missing_ok=True)
    return start_again(command, log, **env)


def start_again(command: list[str], log: Path, **env: str) -> subprocess.Popen[bytes]:
    """The same, with its output added to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ) | as_env(MLFLOW_SERVER, PREFECT_SERVER) | env
    with log.open("ab") as stream:
        return start_session(command, env=environment, output=stream)


def wait_until_listening(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server accepts connections.

    Raises:
        ApoError: it ended, or does not answer in time.
    """
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ApoError(f"{name} did not start; see {log}")
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and everything it started."""
    end_session(process, _STOP_SECONDS)
