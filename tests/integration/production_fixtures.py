"""A repository, its deployments and a worker, on real services, as in production."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from builders import execute
from prefect_worker import KeptWorker, api, deployment_env, deployments, start_run, until

from apo_core.config.file import set_params
from flows.services.control import Services

_AS_ADA = "git -c user.name='Ada Lovelace' -c user.email=ada@host commit -q"


@dataclass
class Production:
    """A workspace in git, its deployments, and a worker."""

    services: Services
    model: str
    source: Path  # the repository that people commit to
    env: dict[str, str]
    worker: KeptWorker

    @property
    def clone(self):
        """The worker's clone of the repository."""
        return Path(self.env["APO_WORKSPACES"]) / self.model

    def runs(self, flow):
        """The flow runs, newest first, without those that are only scheduled."""
        body = {
            "flows": {"name": {"any_": [flow]}},
            "deployments": {"name": {"any_": [self.model]}},
            "sort": "START_TIME_DESC",
            "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}},
        }
        return api(self.env, "flow_runs/filter", body)

    def pause_schedules(self, flow):
        number = deployments(self.env)[f"{flow}/{self.model}"]
        for schedule in api(self.env, f"deployments/{number}", method="GET")["schedules"]:
            path = f"deployments/{number}/schedules/{schedule['id']}"
            api(self.env, path, {"active": False}, method="PATCH")

    def start_run(self, flow, **parameters):
        return start_run(self.env, f"{flow}/{self.model}", **parameters)

    def wait(self, run_id, *states, seconds=400):
        """Wait until the run is in one of these states; fail at once when it has failed or crashed."""

        def reached():
            run = api(self.env, f"flow_runs/{run_id}", method="GET")
            bad = run["state_type"] in ("FAILED", "CRASHED", "CANCELLED")
            assert run["state_name"] in states or not bad, f"{run['state']}\n{self.worker.text()[-6000:]}"
            return run if run["state_name"] in states else None

        return until(reached, self.worker.log, seconds)

    def wait_for_rest(self):
        """Wait until no pipeline runs."""

        def resting():
            return not [run for run in self.runs("pipeline") if run["state_type"] == "RUNNING"]

        until(resting, self.worker.log, 300)

    def answer(self, run_id, **form):
        return api(self.env, f"flow_runs/{run_id}/resume", {"run_input": form})

    def commit(self, *overrides):
        set_params(self.source / "params.yaml", overrides)
        execute(f"{_AS_ADA} -am change", self.source)

    def execute(self, command, directory, *, check=True):
        return execute(command, directory, check=check, env=self.env)


@contextmanager
def production_of(
    services: Services, base: Path, model: str, *params: str, cron: str | None
) -> Iterator[Production]:
    """A tiny workspace of its own repository, deployed, with a worker that serves it.

    Args:
        services: what it all runs on.
        base: a new directory.
        model: name of the registered model and of the deployments.
        params: overrides of the workspace's `params.yaml`.
        cron: when the pipeline runs; None for never.
    """
    source = base / "source"
    env = deployment_env(services, source, model)
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
    execute(f"prefect --no-prompt work-pool create {model} --type process", source, env=env)
    execute("apo deploy", source, env=env)
    worker = KeptWorker(env, base / "worker.log")
    try:
        yield Production(services, model, source, env, worker)
    finally:
        worker.end()


@contextmanager
def mlflow_client(env: dict[str, str], monkeypatch) -> Iterator[mlflow.MlflowClient]:
    """An MLflow client; within the block, this process's environment has the services' variables."""
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # the session keeps the credentials of an earlier test
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(env["MLFLOW_TRACKING_URI"])
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


def pipeline_runs(client, model):
    """The MLflow runs of a model's pipeline, newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [run for run in client.search_runs(experiments) if run.data.tags.get("model") == model]
