"""A repository with its deployments and a worker, on the real services: what a day in production needs."""

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
from conftest import BIN, environment, execute

from apo_core.config.file import set_params
from flows.services.control import Services

WEBHOOK_SECRET, WEBHOOK_PATH = "canary-of-the-webhook-a5c1", "canary-of-its-path-77f0"
_AS_ADA = "git -c user.name='Ada Lovelace' -c user.email=ada@host commit -q"


class Worker:
    """A worker and whoever starts it again when it has ended, as systemd does."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.log = log
        self._environment = environment() | settings
        self._ended = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def text(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        self._ended.set()
        self._signal(signal.SIGTERM)
        self._keeper.join(30)
        self._signal(signal.SIGKILL)
        self._keeper.join()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(BIN / "prefect"), "worker", "start", "--pool", "apo", "--type", "process"],
                env=self._environment,
                cwd=self.log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _keep(self) -> None:
        while True:
            self._process.wait()
            self._signal(signal.SIGKILL)  # what it has started ends with it
            if self._ended.wait(1):
                return
            self._process = self._start()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@dataclass
class Production:
    """A workspace in git, its deployments, and a worker."""

    services: Services
    model: str
    source: Path  # the repository that people commit to
    settings: dict[str, str]
    worker: Worker

    def api(self, method: str, path: str, body: object = None):
        """Prefect's REST API, as its page uses it."""
        url = f"{self.settings['PREFECT_API_URL']}/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def runs(self, flow):
        """Newest first; those that are only scheduled for later are left out."""
        body = {
            "flows": {"name": {"any_": [flow]}},
            "deployments": {"name": {"any_": [self.model]}},
            "sort": "START_TIME_DESC",
            "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}},
        }
        return self.api("POST", "flow_runs/filter", body)

    def deployment(self, flow):
        return self.api("GET", f"deployments/name/{flow}/{self.model}")

    def pause_schedules(self, flow):
        deployment = self.deployment(flow)
        for schedule in deployment["schedules"]:
            path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
            self.api("PATCH", path, {"active": False})

    def start_run(self, flow, **parameters):
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.api("POST", f"deployments/{self.deployment(flow)['id']}/create_flow_run", body)["id"]

    def wait(self, run_id, *states, seconds=400):
        """The run in one of these states; what has failed or crashed is not waited for."""

        def there():
            run = self.api("GET", f"flow_runs/{run_id}")
            bad = run["state_type"] in ("FAILED", "CRASHED", "CANCELLED")
            assert run["state_name"] in states or not bad, f"{run['state']}\n{self.worker.text()[-6000:]}"
            return run if run["state_name"] in states else None

        return until(there, seconds, self.worker.text)

    def answer(self, run_id, **form):
        return self.api("POST", f"flow_runs/{run_id}/resume", {"run_input": form})

    def commit(self, *settings):
        set_params(self.source / "params.yaml", settings)
        execute(f"{_AS_ADA} -am change", self.source)

    def execute(self, command, place, *, check=True):
        return execute(command, place, check=check, settings=self.settings)


@contextmanager
def production_of(
    services: Services, base: Path, model: str, *params: str, cron: str | None
) -> Iterator[Production]:
    """A tiny workspace of its own repository, deployed, with a worker that serves it.

    Args:
        services: what it all runs on.
        base: a new directory.
        model: name of the registered model and of the deployments.
        params: settings of the workspace's `params.yaml`.
        cron: when the pipeline runs; None for never.
    """
    source = base / "source"
    settings = services.site().variables | {
        "PREFECT_HOME": str(base / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "APO_REPOSITORY": source.as_uri(),
        "APO_BRANCH": "main",
        "APO_WORKSPACE": ".",
        "APO_WORK_POOL": "apo",
        "APO_MODEL": model,
        "APO_WEBHOOK_URL": f"http://127.0.0.1:9/{WEBHOOK_PATH}",  # where nobody listens
        "APO_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    execute(f"apo init {source} --preset ci", base)
    set_params(source / "params.yaml", (f"tracking.model={model}", *params))
    deployments = (source / "prefect.yaml").read_text()
    assert '"0 3 * * *"' in deployments
    (source / "prefect.yaml").write_text(deployments.replace('"0 3 * * *"', f'"{cron or "0 3 1 1 *"}"'))
    execute(
        "git init -q -b main && dvc config core.no_scm false && dvc remote add -q --default store"
        f" s3://dvc/{model} && git add -A && {_AS_ADA} -m first",
        source,
    )
    execute("prefect --no-prompt work-pool create apo --type process --overwrite", source, settings=settings)
    execute("prefect --no-prompt deploy --all", source, settings=settings)
    worker = Worker(settings, base / "worker.log")
    try:
        yield Production(services, model, source, settings, worker)
    finally:
        worker.end()


@contextmanager
def mlflow_client(settings: dict[str, str], monkeypatch) -> Iterator[mlflow.MlflowClient]:
    """A client in this process, whose environment knows the services for the length of the block."""
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers the credentials of an earlier test
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(settings["MLFLOW_TRACKING_URI"])
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


def pipeline_runs(client, model):
    """MLflow's, newest first."""
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return [run for run in found if run.data.tags.get("model") == model]


def until(condition, seconds, shown=lambda: ""):
    """What a condition gives once it is true; a service that does not answer is asked again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s\n{shown()[-6000:]}")
