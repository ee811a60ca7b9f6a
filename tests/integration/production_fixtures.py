"""A repository with its deployments and a worker, on the real services: what a day in production needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from builders import execute
from prefect_worker import KeptWorker, api, deployment_settings, deployments, start_run, until

from apo_core.config.file import set_params
from flows.services.control import Services

_AS_ADA = "git -c user.name='Ada Lovelace' -c user.email=ada@host commit -q"


@dataclass
class Production:
    """A workspace in git, its deployments, and a worker."""

    services: Services
    model: str
    source: Path  # the repository that people commit to
    settings: dict[str, str]
    worker: KeptWorker

    @property
    def clone(self):
        """What the worker keeps of the repository."""
        return Path(self.settings["APO_WORKSPACES"]) / self.model

    def runs(self, flow):
        """Newest first; those that are only scheduled for later are left out."""
        body = {
            "flows": {"name": {"any_": [flow]}},
            "deployments": {"name": {"any_": [self.model]}},
            "sort": "START_TIME_DESC",
            "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}},
        }
        return api(self.settings, "flow_runs/filter", body)

    def pause_schedules(self, flow):
        number = deployments(self.settings)[f"{flow}/{self.model}"]
        for schedule in api(self.settings, f"deployments/{number}", method="GET")["schedules"]:
            path = f"deployments/{number}/schedules/{schedule['id']}"
            api(self.settings, path, {"active": False}, method="PATCH")

    def start_run(self, flow, **parameters):
        return start_run(self.settings, f"{flow}/{self.model}", **parameters)

    def wait(self, run_id, *states, seconds=400):
        """The run in one of these states; what has failed or crashed is not waited for."""

        def there():
            run = api(self.settings, f"flow_runs/{run_id}", method="GET")
            bad = run["state_type"] in ("FAILED", "CRASHED", "CANCELLED")
            assert run["state_name"] in states or not bad, f"{run['state']}\n{self.worker.text()[-6000:]}"
            return run if run["state_name"] in states else None

        return until(there, self.worker.log, seconds)

    def wait_for_rest(self):
        """Until no pipeline runs."""

        def resting():
            return not [run for run in self.runs("pipeline") if run["state_type"] == "RUNNING"]

        until(resting, self.worker.log, 300)

    def answer(self, run_id, **form):
        return api(self.settings, f"flow_runs/{run_id}/resume", {"run_input": form})

    def commit(self, *settings):
        set_params(self.source / "params.yaml", settings)
        execute(f"{_AS_ADA} -am change", self.source)

    def execute(self, command, place, *, check=True):
        return execute(command, place, check=check, env=self.settings)


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
    settings = deployment_settings(services, source, model)
    execute(f"apo init {source} --preset ci", base)
    set_params(source / "params.yaml", (f"tracking.model={model}", *params))
    text = (source / "prefect.yaml").read_text()
    assert '"0 3 * * *"' in text
    (source / "prefect.yaml").write_text(text.replace('"0 3 * * *"', f'"{cron or "0 3 1 1 *"}"'))
    execute(
        "git init -q -b main && dvc config core.no_scm false && dvc remote add -q --default store"
        f" s3://dvc/{model} && git add -A && {_AS_ADA} -m first",
        source,
    )
    execute(f"prefect --no-prompt work-pool create {model} --type process", source, env=settings)
    execute("apo deploy", source, env=settings)
    worker = KeptWorker(settings, base / "worker.log")
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
