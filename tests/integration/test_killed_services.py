"""A service killed in the middle of a run: the run ends as usual, and nothing is lost or duplicated."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import yaml
from builders import execute
from prefect_worker import until
from production_fixtures import mlflow_client, pipeline_runs, production_of

from tasks.decisions.log import open_store, read_log
from tasks.workspace import Workspace

pytestmark = pytest.mark.production

MODEL = "apo-killed"
STEPS = 32  # of the preset
SETTINGS = (
    "promotion.approval=manual",
    "promotion.approval_hours=1000",
    "pipeline.retry_delay_seconds=1.0",
)
_DOWN_SECONDS = 4
# Every service is killed at two moments of a run: (service, the log line at which it is killed).
_EARLY, _TRAINING, _LATE = "Running stage 'sample'", "train: .* step/s", "report: ran"


@pytest.fixture(scope="module")
def production(services, tmp_path_factory):
    base = tmp_path_factory.mktemp("killed")
    with production_of(services, base, MODEL, *SETTINGS, cron=None) as made:
        made.pause_schedules("reconcile")
        made.wait(made.start_run("pipeline"), "Completed")
        yield made


@pytest.fixture
def client(production, monkeypatch):
    with mlflow_client(production.env, monkeypatch) as connected:
        yield connected


@pytest.mark.parametrize(
    ("samples", "name", "moments"),
    [
        (9, "mlflow", (_TRAINING, _LATE)),
        (10, "prefect", (_EARLY, _TRAINING, _LATE)),
        (11, "s3", (_EARLY, _LATE)),
        (12, "postgres", (_EARLY, _TRAINING, _LATE)),
    ],
)
def test_a_service_that_is_killed_in_the_middle_of_a_run(
    production, client, tmp_path, samples, name, moments
):
    store = open_store(Workspace(production.source))
    log = read_log(store, MODEL)
    production.commit(f"sampling.n={samples}")
    said = len(production.worker.text())
    production.start_run("pipeline")
    for moment in moments:
        wait_for(production.worker, moment, said)
        kill(production.services, name)
        said = len(production.worker.text())
        time.sleep(_DOWN_SECONDS)
        production.services.start()
    finished = until(lambda: finished_run(client, samples), production.worker.log, 400)

    # The outputs equal an uninterrupted run's, byte for byte.
    artifact = client.download_artifacts(finished.info.run_id, "lineage/dvc.lock", str(tmp_path))
    assert outputs(Path(artifact).read_text()) == outputs(undisturbed(production, tmp_path, samples))
    for metric in ("loss", "reward", "kl"):
        steps = [point.step for point in client.get_metric_history(finished.info.run_id, metric)]
        assert steps == list(range(1, STEPS + 1))
    # MLflow has one run; it is finished, and none is still RUNNING.
    runs = [run for run in pipeline_runs(client, MODEL) if run.data.params["sampling.n"] == str(samples)]
    assert [run.info.status for run in runs if run.info.status != "FAILED"] == ["FINISHED"]
    assert read_log(store, MODEL)[: len(log)] == log
    look, entry = read_log(store, MODEL)[len(log) :]
    assert (look.event, entry.event) == ("compared", "candidate")
    versions = {
        str(version.version): version.run_id for version in client.search_model_versions(f"name = '{MODEL}'")
    }
    candidates = [entry for entry in read_log(store, MODEL) if entry.event == "candidate"]
    assert len(versions) == len(candidates) and versions[entry.version] == finished.info.run_id
    production.wait_for_rest()


def wait_for(worker, pattern, start):
    until(lambda: re.search(pattern, worker.text()[start:]), worker.log, 200)


def kill(services, name):
    (status,) = services.status(name)
    os.kill(status.process, signal.SIGKILL)


def finished_run(client, samples):
    for run in pipeline_runs(client, MODEL):
        if run.data.params.get("sampling.n") == str(samples) and run.info.status == "FINISHED":
            return run
    return None


def undisturbed(production, directory, samples):
    """The `dvc.lock` of an uninterrupted run of the same commit on this machine."""
    execute(f"git clone -q {production.source} alone", directory)
    execute("apo run --by Ada", directory / "alone")
    return (directory / "alone/dvc.lock").read_text()


def outputs(lock):
    """The hashes of each stage's outputs, except files that contain times."""
    return {
        output["path"]: output["md5"]
        for stage in yaml.safe_load(lock)["stages"].values()
        for output in stage["outs"]
        if output["path"].startswith("data/") and output["path"] != "data/metrics.jsonl"
    }
