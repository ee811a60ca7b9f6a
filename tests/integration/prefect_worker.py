"""A workspace's deployments on a real Prefect server, and the worker that runs them."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from conftest import BIN, environment

COMMIT = "git add -A && git -c user.name='Ada Lovelace' -c user.email=ada@host commit -qm all"


def api(settings: dict[str, str], path: str, body: object = None):
    """What Prefect's REST API answers."""
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(
        f"{settings['PREFECT_API_URL']}/{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def deployments(settings: dict[str, str]) -> dict[str, str]:
    """The number of every deployment, by `flow/name`."""
    flows = {one["id"]: one["name"] for one in api(settings, "flows/filter")}
    found = api(settings, "deployments/filter")
    return {f"{flows[one['flow_id']]}/{one['name']}": one["id"] for one in found}


def start_run(settings: dict[str, str], deployment: str) -> str:
    """A run of `flow/name`, as soon as a worker takes it."""
    path = f"deployments/{deployments(settings)[deployment]}/create_flow_run"
    return api(settings, path, {"state": {"type": "SCHEDULED"}})["id"]


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
            env=environment() | settings,
            cwd=log.parent,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(worker: subprocess.Popen) -> None:
    """End a worker and all that it has started."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(timeout=60)


def kill(worker: subprocess.Popen) -> None:
    """The same at once, as the end of its host does it."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(timeout=30)


def until(condition: Callable[[], object], log: Path, seconds: float = 120):
    """What a condition gives once it is true; else the end of the worker's log is shown."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s\n{log.read_text()[-6000:]}")
