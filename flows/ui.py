"""The Prefect and MLflow pages of one workspace, served on loopback until interrupted."""

from __future__ import annotations

import signal
import sys
import time

from apo_core.errors import ApoError
from flows.servers import HOST, announced, listening, prefect_command, start, stop, wait_until_listening
from tasks.tracking import tracking_uri
from tasks.workspace import Workspace


def serve(workspace: Workspace, *, prefect_port: int, mlflow_port: int) -> None:
    """Start both servers, print where to look, and stop both when this process is interrupted.

    Raises:
        ApoError: a port is taken, or a server ended by itself.
    """
    for port in (prefect_port, mlflow_port):
        if listening(port):
            raise ApoError(f"port {port} on {HOST} is taken; choose another (apo ui --help)")
    logs = workspace.state / "logs"
    servers = {
        "Prefect": (
            prefect_port,
            start(
                prefect_command(prefect_port),
                logs / "ui-prefect.log",
                # The page would look for its API at the default port, whatever port it came from.
                PREFECT_SERVER_UI_API_URL=f"http://{HOST}:{prefect_port}/api",
            ),
        ),
        "MLflow": (mlflow_port, start(_mlflow_command(workspace, mlflow_port), logs / "ui-mlflow.log")),
    }
    # A plain kill must end the servers as an interrupt does; and a shell starts what it puts into the
    # background with interrupts ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for name, (port, process) in servers.items():
            wait_until_listening(name, port, process, logs)
            print(f"{name}: http://{HOST}:{port}", flush=True)
        print(f"Logs are in {logs}. Ctrl-C stops both.", flush=True)
        with announced(workspace, prefect_port):
            while all(process.poll() is None for _, process in servers.values()):
                time.sleep(0.5)
        raise ApoError(f"a server ended by itself; see {logs}")
    except KeyboardInterrupt:
        print("stopped")
    finally:
        for _, process in servers.values():
            stop(process)


def _mlflow_command(workspace: Workspace, port: int) -> list[str]:
    store = ["--backend-store-uri", tracking_uri(workspace), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), *store]
