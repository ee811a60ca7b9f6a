"""A workspace's deployments on a real Prefect server, and the worker that runs them."""

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from builders import BIN, clean_env

from flows.services.control import Services

COMMIT = "git add -A && git -c user.name='Ada Lovelace' -c user.email=ada@host commit -qm all"


def deployment_env(services: Services, source: Path, model: str) -> dict[str, str]:
    """The variables of a workspace's deployments and their worker, whose own files lie beside the source.

    Args:
        services: what it all runs on.
        source: the repository, whose root is the workspace.
        model: name of the registered model, of the deployments and of their work pool.
    """
    return services.paths().variables | {
        "PREFECT_HOME": str(source.parent / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "APO_REPOSITORY": source.as_uri(),
        "APO_BRANCH": "main",
        "APO_WORKSPACE": ".",
        "APO_WORKSPACES": str(source.parent / "workspaces"),
        "APO_WORK_POOL": model,
        "APO_MODEL": model,
    }


def api(env: dict[str, str], path: str, body: object = None, *, method: str = "POST"):
    """Call Prefect's REST API as its web page does."""
    data = None if method == "GET" else json.dumps(body or {}).encode()
    url = f"{env['PREFECT_API_URL']}/{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def deployments(env: dict[str, str]) -> dict[str, str]:
    """The id of every deployment, by `flow/name`."""
    flows = {flow["id"]: flow["name"] for flow in api(env, "flows/filter")}
    return {
        f"{flows[deployment['flow_id']]}/{deployment['name']}": deployment["id"]
        for deployment in api(env, "deployments/filter")
    }


def start_run(env: dict[str, str], deployment: str, **parameters) -> str:
    """Start a run of `flow/name`; a worker takes it as soon as it can."""
    path = f"deployments/{deployments(env)[deployment]}/create_flow_run"
    return api(env, path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"]


def state_name(env: dict[str, str], run: str) -> str:
    """The current state of a run."""
    (flow_run,) = api(env, "flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return flow_run["state_name"]


def start_worker(env: dict[str, str], log: Path) -> subprocess.Popen:
    """A worker of the pool of `APO_WORK_POOL`, in a session of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [
                str(BIN / "prefect"),
                "worker",
                "start",
                "--pool",
                env["APO_WORK_POOL"],
                "--type",
                "process",
            ],
            env=clean_env() | env,
            cwd=log.parent,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(worker: subprocess.Popen) -> None:
    """Stop a worker and its child processes."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(timeout=20)
        except subprocess.TimeoutExpired:  # a worker can hang when a run ends while the signal arrives
            kill(worker)


def kill(worker: subprocess.Popen) -> None:
    """Kill a worker and its child processes at once, as the loss of a host does."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(timeout=30)


class KeptWorker:
    """A worker and its supervisor, which restarts it when it ends, as systemd does."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.env = env
        self.log = log
        self._ended = threading.Event()
        self._process = start_worker(env, log)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def text(self) -> str:
        """The log so far of the worker and its runs."""
        return self.log.read_text()

    def end(self) -> None:
        """Stop the worker and its child processes."""
        self._ended.set()
        self._signal(signal.SIGTERM)
        self._keeper.join(30)
        self._signal(signal.SIGKILL)
        self._keeper.join()

    def _keep(self) -> None:
        while True:
            self._process.wait()
            self._signal(signal.SIGKILL)  # its child processes end with it
            if self._ended.wait(1):
                return
            self._process = start_worker(self.env, self.log)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def until(condition: Callable[[], object], log: Path, seconds: float = 120):
    """Wait for a condition and return its result; on a timeout, show the end of the worker's log.

    A service that does not answer is asked again.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if answer := condition():
                return answer
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s\n{log.read_text()[-6000:]}")
