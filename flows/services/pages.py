"""The Prefect and MLflow pages of one workspace, served on loopback until interrupted."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack

from apo_core.errors import ApoError
from apo_core.system.environment import use_prefect_api
from apo_core.system.loopback import HOST, check_loopback, listening
from apo_core.system.processes import python_module
from flows.services.local_server import announced, prefect_command, start, stop, wait_until_listening
from tasks.tracking.store import connect, is_remote, tracking_uri
from tasks.workspace import Workspace, check_writable


def serve(workspace: Workspace, *, experiment: str, prefect_port: int, mlflow_port: int) -> None:
    """Print where the pages are; those that no server of the user's own has are served until interrupted.

    The address of an MLflow server started here is that of the experiment's runs: its front page is about
    agents.

    Raises:
        ApoError: a port is taken, a server ended by itself, or the workspace cannot be written.
    """
    own = {"Prefect": os.environ.get("PREFECT_API_URL"), "MLflow": _remote_tracking(workspace)}
    commands = {
        "Prefect": (prefect_port, prefect_command(prefect_port)),
        "MLflow": (mlflow_port, _mlflow_command(workspace, mlflow_port)),
    }
    commands_here = {name: command for name, command in commands.items() if own[name] is None}
    check_writable(workspace)
    if own["MLflow"] is None:
        connect(workspace)  # makes the store whole, or has it follow a workspace that was moved
    if commands_here:
        check_loopback()
    for port, _ in commands_here.values():
        if listening(port):
            raise ApoError(f"port {port} on {HOST} is taken; choose another (apo ui --help)")
    # A plain kill must end the servers as an interrupt does; and a shell starts what it puts into the
    # background with interrupts ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    for name, address in own.items():
        if address is not None:
            print(f"{name}: {page_of(address)} (yours)", flush=True)
    if commands_here:
        _serve(workspace, commands_here, experiment)


def page_of(address: str) -> str:
    """The address of a server's page by that of its API; without a password."""
    uri = urllib.parse.urlsplit(address)
    host = uri.netloc.rpartition("@")[2]
    return uri._replace(netloc=host, path=uri.path.rstrip("/").removesuffix("/api")).geturl()


def _serve(workspace: Workspace, commands_here: dict[str, tuple[int, list[str]]], experiment: str) -> None:
    logs = workspace.state / "logs"
    with ExitStack() as stack:
        processes = []
        try:
            for name, (port, command) in commands_here.items():
                # The Prefect page would look for its API at the default port, whatever port it came from.
                env = {"PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api"}
                process = start(command, logs / f"ui-{name.lower()}.log", **env)
                stack.callback(stop, process)
                processes.append(process)
            for (name, (port, _)), process in zip(commands_here.items(), processes, strict=True):
                wait_until_listening(name, port, process, logs)
                page = f"http://{HOST}:{port}"
                print(f"{name}: {_runs_page(page, experiment) if name == 'MLflow' else page}", flush=True)
            if "Prefect" in commands_here:
                _close_dead_runs(workspace, commands_here["Prefect"][0])
                stack.enter_context(announced(workspace, commands_here["Prefect"][0]))
            print(f"Logs are in {logs}. Ctrl-C stops what was started.", flush=True)
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
            raise ApoError(f"a server ended by itself; see {logs}")
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _close_dead_runs(workspace: Workspace, port: int) -> None:
    use_prefect_api(f"http://{HOST}:{port}/api")
    from flows.dead_run import close_dead_runs

    close_dead_runs(workspace)


def _runs_page(server: str, experiment: str) -> str:
    """The page of an experiment's runs, or the server's own where nothing has run yet."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this machine
    try:
        url = f"{server}/api/2.0/mlflow/experiments/get-by-name?{query}"
        with direct.open(url, timeout=10) as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except (OSError, ValueError, KeyError):  # a link is no reason to stop
        return server
    return f"{server}/#/experiments/{number}?workflowType=machine_learning"


def _remote_tracking(workspace: Workspace) -> str | None:
    uri = tracking_uri(workspace)
    return uri if is_remote(uri) else None


def _mlflow_command(workspace: Workspace, port: int) -> list[str]:
    store = ["--backend-store-uri", tracking_uri(workspace), "--workers", "1"]
    return python_module("mlflow", "server", "--host", HOST, "--port", str(port), *store)
