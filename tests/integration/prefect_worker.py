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


def deployment_settings(services: Services, source: Path, model: str) -> dict[str, str]:
    """What a workspace's deployments and their worker are told; the worker's own files lie beside the source.

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


def api(settings: dict[str, str], path: str, body: object = None, *, method: str = "POST"):
    """What Prefect's REST API answers, as to its page."""
    data = None if method == "GET" else json.dumps(body or {}).encode()
    url = f"{settings['PREFECT_API_URL']}/{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def deployments(settings: dict[str, str]) -> dict[str, str]:
    """The number of every deployment, by `flow/name`."""
    flows = {one["id"]: one["name"] for one in api(settings, "flows/filter")}
    found = api(settings, "deployments/filter")
    return {f"{flows[one['flow_id']]}/{one['name']}": one["id"] for one in found}


def start_run(settings: dict[str, str], deployment: str, **parameters) -> str:
    """A run of `flow/name`, as soon as a worker takes it."""
    path = f"deployments/{deployments(settings)[deployment]}/create_flow_run"
    return api(settings, path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"]


def state_name(settings: dict[str, str], run: str) -> str:
    """How a run is now."""
    (found,) = api(settings, "flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return found["state_name"]


def start_worker(settings: dict[str, str], log: Path) -> subprocess.Popen:
    """A worker of the pool of `APO_WORK_POOL`, in a session of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [
                str(BIN / "prefect"),
                "worker",
                "start",
                "--pool",
                settings["APO_WORK_POOL"],
                "--type",
                "process",
            ],
            env=clean_env() | settings,
            cwd=log.parent,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(worker: subprocess.Popen) -> None:
    """End a worker and all that it has started."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(timeout=20)
        except subprocess.TimeoutExpired:  # it can hang where a run ends as the signal comes
            kill(worker)


def kill(worker: subprocess.Popen) -> None:
    """The same at once, as the end of its host does it."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(timeout=30)


class KeptWorker:
    """A worker and whoever starts it again when it has ended, as systemd does."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.settings = settings
        self.log = log
        self._ended = threading.Event()
        self._process = start_worker(settings, log)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def text(self) -> str:
        """What it and its runs have said so far."""
        return self.log.read_text()

    def end(self) -> None:
        """End it and all that it has started."""
        self._ended.set()
        self._signal(signal.SIGTERM)
        self._keeper.join(30)
        self._signal(signal.SIGKILL)
        self._keeper.join()

    def _keep(self) -> None:
        while True:
            self._process.wait()
            self._signal(signal.SIGKILL)  # what it has started ends with it
            if self._ended.wait(1):
                return
            self._process = start_worker(self.settings, self.log)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def until(condition: Callable[[], object], log: Path, seconds: float = 120):
    """What a condition gives once it is true; else the end of the worker's log is shown.

    A service that does not answer is asked again.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if found := condition():
                return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s\n{log.read_text()[-6000:]}")
