"""A killed stage resumes where it was and ends with the result of an uninterrupted run."""

import json
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from uuid import UUID

import mlflow
import psutil
import pytest
from builders import clean_env, execute, kill_when, steps_done, weights_hash

pytestmark = pytest.mark.long


@pytest.fixture
def uncached(workspace):
    """The workspace without shards, checkpoints and DVC's cache, so that nothing finished is reused."""
    shutil.rmtree(workspace / "data/unfinished")
    shutil.rmtree(workspace / ".dvc/cache")
    return workspace


@pytest.mark.production
def test_killed_sampling_keeps_its_shards(uncached):
    workspace = uncached
    before = (workspace / "data/samples.parquet").read_bytes()
    shards = workspace / "data/unfinished/sample"
    kill_when(
        workspace,
        ["apo", "stage", "sample", "--force"],
        lambda: len(list(shards.glob("sample-*.parquet"))) >= 1,
    )
    kept = {file.name: file.stat().st_mtime_ns for file in shards.glob("sample-*.parquet")}
    assert kept
    assert len(kept) < 4
    assert not (workspace / "data/samples.parquet").exists()
    output = execute("apo stage sample", workspace).stdout
    assert f"sample: {len(kept)} of 4 shards were finished before" in output
    assert kept.items() <= {file.name: file.stat().st_mtime_ns for file in shards.glob("*.parquet")}.items()
    assert (workspace / "data/samples.parquet").read_bytes() == before


@pytest.mark.production
@pytest.mark.parametrize("name", ["evaluate-policy", "kl-policy"])
def test_killed_evaluation_keeps_its_shards(uncached, name):
    workspace = uncached
    before = (workspace / "data/evaluations.parquet").read_bytes()
    figures = (workspace / "reports/eval.json").read_text()
    work = workspace / "data/unfinished/evaluate"
    kill_when(
        workspace,
        ["apo", "stage", "evaluate", "--force"],
        lambda: len(list(work.glob(f"{name}-*.parquet"))) >= 1,
    )
    kept = {file: file.stat().st_mtime_ns for file in work.glob("*-*.parquet")}
    assert 3 < len(kept) < 9  # of three each: responses of either policy, and log-ratios
    output = execute("apo stage evaluate", workspace).stdout
    assert "evaluate-reference: 3 of 3 shards were finished before" in output
    assert kept.items() <= {file: file.stat().st_mtime_ns for file in work.glob("*-*.parquet")}.items()
    assert (workspace / "data/evaluations.parquet").read_bytes() == before
    assert (workspace / "reports/eval.json").read_text() == figures


@pytest.mark.production
def test_a_killed_worker_of_an_evaluation_is_replaced_and_the_table_is_one_workers(uncached):
    workspace = uncached
    before = (workspace / "data/evaluations.parquet").read_bytes()
    log = workspace / "log"
    with log.open("wb") as stream:
        command = subprocess.Popen(
            ["apo", "stage", "evaluate", "--force", "--set", "sampling.workers=2"],
            cwd=workspace,
            env=clean_env(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    work = workspace / "data/unfinished/evaluate"
    while not list(work.glob("evaluate-policy-*.parquet")):
        assert command.poll() is None, log.read_text()[-4000:]
        time.sleep(0.005)
    (stage,) = stage_processes(workspace, "evaluate")
    workers = [child for child in stage.children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    assert command.wait(timeout=400) == 0, log.read_text()[-4000:]
    assert "a sampling worker died" in log.read_text()
    assert (workspace / "data/evaluations.parquet").read_bytes() == before


def test_killed_training_goes_on_from_its_checkpoint(uncached):
    workspace = uncached
    before = weights_hash(workspace)
    undisturbed = (workspace / "data/metrics.jsonl").read_text()
    kill_when(workspace, ["apo", "stage", "train", "--force"], lambda: steps_done(workspace) >= 20)
    assert steps_done(workspace) < 32
    # A scheduler's own rank variables do not make this process a rank.
    foreign = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "192.0.2.1"}
    output = execute("apo stage train", workspace, env=foreign).stdout
    assert "train: resumed at step 16 of 32" in output or "train: resumed at step 24 of 32" in output
    assert json.loads((workspace / "reports/stages/train.json").read_text())["resumed_from_step"] >= 16
    rows = [json.loads(line) for line in (workspace / "data/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 33))
    losses = [json.loads(line)["loss"] for line in undisturbed.splitlines()]
    assert [row["loss"] for row in rows] == losses
    assert weights_hash(workspace) == before


@pytest.mark.production
def test_a_stage_that_is_killed_under_the_flow_is_retried_from_its_checkpoint(workspace):
    """The flow survives: its retry resumes the stage, and MLflow gets every step once."""
    before = weights_hash(workspace)
    shutil.rmtree(workspace / "data/unfinished")
    log = workspace / "log"
    with log.open("wb") as stream:
        flow = subprocess.Popen(
            ["apo", "run", "--force", "train"],
            cwd=workspace,
            env=clean_env(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    while steps_done(workspace) < 20:
        assert flow.poll() is None, log.read_text()[-4000:]
        time.sleep(0.05)
    (stage,) = stage_processes(workspace, "train")
    stage.kill()
    assert flow.wait(timeout=400) == 0, log.read_text()[-4000:]
    output = log.read_text()
    assert "Retry 1/2 will start" in output
    assert re.search(r"train: resumed at step (16|24) of 32", output)
    assert weights_hash(workspace) == before
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/.apo/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("apo-flow").experiment_id])
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(steps) == list(range(1, 33))


def stage_processes(workspace: Path, stage: str) -> list[psutil.Process]:
    """The processes of a stage in the workspace."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[-3:] == ["-m", "tasks", stage] and process.cwd() == str(workspace)
    ]


@pytest.mark.production
def test_a_killed_run_is_marked_as_crashed_by_the_next_one(workspace):
    note = workspace / ".apo/run.prefect"
    kill_when(workspace, ["apo", "run"], note.exists)
    dead = json.loads(note.read_text())["note"]
    assert states(workspace)[dead] == "RUNNING"
    execute("apo run", workspace)
    assert states(workspace)[dead] == "CRASHED"
    assert "RUNNING" not in states(workspace).values()


def states(workspace: Path) -> dict[str, str]:
    """The state of every run in the workspace's Prefect database."""
    with closing(sqlite3.connect(workspace / ".apo/prefect/prefect.db")) as database:
        rows = database.execute("SELECT id, state_type FROM flow_run").fetchall()
    return {str(UUID(number)): state for number, state in rows}
