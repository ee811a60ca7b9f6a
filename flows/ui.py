"""The Prefect and MLflow pages of one workspace, served on loopback until interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from apo_core.errors import ApoError
from tasks.stage import set_parent_death_signal
from tasks.tracking import tracking_uri
from tasks.workspace import Workspace

_HOST = "127.0.0.1"
_STARTUP_SECONDS = 120


def serve(workspace: Workspace, *, prefect_port: int, mlflow_port: int) -> None:
    """Start both servers, print where to look, and stop both when this process is interrupted.

    Raises:
        ApoError: a port is taken, or a server ended by itself.
    """
    for port in (prefect_port, mlflow_port):
        if _listening(port):
            raise ApoError(f"port {port} on {_HOST} is taken; choose another (apo ui --help)")
    logs = workspace.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    servers = {
        "Prefect": (prefect_port, _start(_prefect(prefect_port), logs / "prefect.log")),
        "MLflow": (mlflow_port, _start(_mlflow(workspace, mlflow_port), logs / "mlflow.log")),
    }
    # A plain kill must end the servers as an interrupt does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name, (port, process) in servers.items():
            _wait_until_listening(name, port, process, logs)
            print(f"{name}: http://{_HOST}:{port}", flush=True)
        print(f"Logs are in {logs}. Ctrl-C stops both.", flush=True)
        while all(process.poll() is None for _, process in servers.values()):
            time.sleep(0.5)
        raise ApoError(f"a server ended by itself; see {logs}")
    except KeyboardInterrupt:
        print("stopped")
    finally:
        for _, process in servers.values():
            _stop(process)


def _prefect(port: int) -> list[str]:
    return [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(port)]


def _mlflow(workspace: Workspace, port: int) -> list[str]:
    store = ["--backend-store-uri", tracking_uri(workspace), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), *store]


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    # Without this MLflow starts ten processes that hold 2.5 GB.
    environment = dict(os.environ) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as stream:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=set_parent_death_signal,
        )


def _wait_until_listening(name: str, port: int, process: subprocess.Popen[bytes], logs: Path) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not _listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ApoError(f"{name} did not start; see {logs}")
        time.sleep(0.2)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=15)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
