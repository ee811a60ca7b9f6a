"""`apo deploy` on a real Prefect server: all of it or nothing, and who is told when a run dies."""

import os
import time
from pathlib import Path

import psutil
import pytest
from builders import execute
from prefect_worker import (
    COMMIT,
    api,
    deployment_settings,
    deployments,
    kill,
    start_run,
    start_worker,
    state_name,
    stop,
    until,
)
from webhook_receiver import receiving

pytestmark = pytest.mark.production

MODEL = "apo-deploy"
SLEEPING = """
import time
from prefect import flow
from flows.outcome import tell_failure

@flow(name="pipeline", validate_parameters=False, on_crashed=[tell_failure])
def pipeline(workspace=".", restore=False, checkout=None):
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture(scope="module")
def settings(services, receiver, tmp_path_factory):
    base = tmp_path_factory.mktemp("settings")
    path = os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])  # the test's own flow
    own = deployment_settings(services, base / "repository", MODEL)
    return own | receiver.settings | {"PYTHONPATH": path}


@pytest.fixture(scope="module")
def repository(settings):
    """What the pipeline clones; it is not there yet."""
    return settings["APO_REPOSITORY"].removeprefix("file://")


@pytest.fixture(scope="module")
def place(settings, tmp_path_factory):
    made = tmp_path_factory.mktemp("deploy") / "workspace"
    execute(f"apo init {made} --preset ci", made.parent)
    change(made / "prefect.yaml", ("schedule_after: 60", "schedule_after: 5"))
    execute(f"prefect --no-prompt work-pool create {MODEL} --type process", made, env=settings)
    return made


def change(file, *changes):
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def runs(settings, flow):
    """Newest first, without those of the schedule."""
    wanted = {
        "flows": {"name": {"any_": [flow]}},
        "deployments": {"name": {"any_": [MODEL]}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    return [one for one in api(settings, "flow_runs/filter", wanted) if not one["auto_scheduled"]]


@pytest.mark.parametrize(
    "missing", [("APO_MODEL",), ("APO_BRANCH", "APO_WORK_POOL"), ("PREFECT_API_URL",)], ids=" ".join
)
def test_what_is_not_set_is_named_and_nothing_is_deployed(place, settings, missing):
    before = deployments(settings)
    given = {name: value for name, value in settings.items() if name not in missing}
    done = execute("apo deploy", place, check=False, env=given)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert line == f"error: prefect.yaml: not set: {', '.join(missing)}; nothing is deployed"
    assert deployments(settings) == before
    assert not [name for name in before if name.endswith(MODEL)]


def test_twice_is_once(place, settings):
    execute("apo deploy", place, env=settings)
    made = deployments(settings)
    flows = ("pipeline", "approve", "rollback", "reconcile", "tell")
    assert {f"{flow}/{MODEL}" for flow in flows} <= set(made)
    execute("apo deploy", place, env=settings)
    assert deployments(settings) == made
    names = [one["name"] for one in api(settings, "automations/filter")]
    wanted = ("a run has failed", "nothing is reconciled", "a run is silent")
    assert sorted(name for name in names if name.startswith(MODEL)) == sorted(
        f"{MODEL}: {what}" for what in wanted
    )


@pytest.fixture(scope="module")
def worker_log(tmp_path_factory):
    return tmp_path_factory.mktemp("worker") / "worker.log"


@pytest.fixture
def worker(settings, worker_log):
    process = start_worker(settings, worker_log)
    yield process
    stop(process)


def told_of(settings, run, log):
    """The run of `tell` that a run has caused, when it is over."""

    def over():
        found = [one for one in runs(settings, "tell") if run in one["parameters"]["run"]]
        return [one for one in found if one["state_type"] == "COMPLETED"]

    (tell,) = until(over, log)
    return tell


def test_a_repository_that_is_not_there_is_told_once(place, settings, receiver, worker, worker_log):
    execute("apo deploy", place, env=settings)
    receiver.received.clear()
    run = start_run(settings, f"pipeline/{MODEL}")
    told_of(settings, run, worker_log)
    (message,) = receiver.received
    assert (message["occasion"], message["model"]) == ("failure", MODEL)
    assert ": Crashed: " in message["text"] and "\n" not in message["text"]
    assert message["links"]["run"].endswith(f"/runs/flow-run/{run}")


def test_a_rollback_that_fails_is_told_once(place, settings, receiver, worker, worker_log):
    execute("apo deploy", place, env=settings)
    receiver.received.clear()
    run = start_run(settings, f"rollback/{MODEL}", by="Bob", reason="there is nothing to go back to")
    told_of(settings, run, worker_log)
    (message,) = receiver.received
    assert (message["occasion"], message["model"]) == ("failure", MODEL)
    assert message["text"].startswith(f"rollback/{MODEL}: ") and "\n" not in message["text"]


def test_what_the_run_has_told_itself_is_not_told_again(
    place, settings, repository, receiver, worker, worker_log
):
    execute(f"git init -q -b main {repository}", place)
    execute("echo 'seed: none' >params.yaml", repository)
    execute(COMMIT, repository)
    receiver.received.clear()
    run = start_run(settings, f"pipeline/{MODEL}")
    told_of(settings, run, worker_log)
    (message,) = receiver.received
    assert "params.yaml" in message["text"]


def test_unfinished_work_stays_when_the_branch_moves_on(place, settings, repository, worker, worker_log):
    execute(f"git init -q -b main {repository}", place)
    clone = Path(settings["APO_WORKSPACES"]) / MODEL
    marker = clone / "data/unfinished/train/checkpoint"
    for seed in ("one", "two", "three"):
        execute(f"echo 'seed: {seed}' >params.yaml && {COMMIT}", repository)
        run = start_run(settings, f"pipeline/{MODEL}")
        until(lambda run=run: state_name(settings, run) == "Failed", worker_log)
        assert (clone / "params.yaml").read_text() == f"seed: {seed}\n"
        if seed == "one":
            marker.parent.mkdir(parents=True)
            marker.write_text("step 7")
        assert marker.read_text() == "step 7"


@pytest.fixture(scope="module")
def sleeping(place, settings, repository):
    """A pipeline that only sleeps, and is missed after a short while."""
    (Path(settings["PYTHONPATH"].split(os.pathsep)[0]) / "sleeping.py").write_text(SLEEPING)
    execute(f"git init -q -b main {repository}", place)
    execute(f"date >when && touch params.yaml && {COMMIT}", repository)
    change(
        place / "prefect.yaml",
        ("flows.pipeline.pipeline", "sleeping.pipeline"),
        ('FREQUENCY: "60"', 'FREQUENCY: "30"'),  # Prefect's shortest
        ("within: 300", "within: 40"),
    )
    execute("apo deploy", place, env=settings)


def sleeper(settings, worker, log):
    """A run and its process, once it sleeps and has given a sign of life."""
    run = start_run(settings, f"pipeline/{MODEL}")
    until(lambda: state_name(settings, run) == "Running", log)
    time.sleep(8)
    (process,) = [one for one in psutil.Process(worker.pid).children() if run in str(one.environ())]
    return run, process


def test_a_process_that_is_killed_is_told_once(settings, sleeping, receiver, worker, worker_log):
    receiver.received.clear()
    run, process = sleeper(settings, worker, worker_log)
    process.kill()
    told_of(settings, run, worker_log)  # it comes when a run has had its time to tell of itself
    time.sleep(5)
    (message,) = receiver.received
    assert "Crashed: " in message["text"]
    assert not message["text"].startswith("pipeline/")  # the worker has told of it, by the flow's hook
    assert message["links"]["run"].endswith(run)
    # To find the hook the worker has loaded the flow.
    assert Path(psutil.Process(worker.pid).cwd()) == worker_log.parent


def test_a_host_that_is_gone_is_told_once(settings, sleeping, receiver, worker, worker_log):
    receiver.received.clear()
    run, _ = sleeper(settings, worker, worker_log)
    kill(worker)
    another = start_worker(settings, worker_log)
    try:
        told_of(settings, run, worker_log)
    finally:
        kill(another)
    (message,) = receiver.received
    assert "Running, without a sign of life" in message["text"]
    assert message["links"]["run"].endswith(run)
