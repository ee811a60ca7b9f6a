"""`apo deploy` on a real Prefect server: all deployments or none, and one alert when a run dies."""

import os
import time
from pathlib import Path

import psutil
import pytest
from builders import execute
from prefect_worker import (
    COMMIT,
    api,
    deployment_env,
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
from flows.outcome import notify_failure

@flow(name="pipeline", validate_parameters=False, on_crashed=[notify_failure])
def pipeline(workspace=".", restore=False, checkout=None):
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture(scope="module")
def env(services, receiver, tmp_path_factory):
    base = tmp_path_factory.mktemp("settings")
    path = os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])  # the test's own flow
    own = deployment_env(services, base / "repository", MODEL)
    return own | receiver.env | {"PYTHONPATH": path}


@pytest.fixture(scope="module")
def repository(env):
    """The path of the repository that the pipeline clones; nothing is there yet."""
    return env["APO_REPOSITORY"].removeprefix("file://")


@pytest.fixture(scope="module")
def workspace(env, tmp_path_factory):
    made = tmp_path_factory.mktemp("deploy") / "workspace"
    execute(f"apo init {made} --preset ci", made.parent)
    change(made / "prefect.yaml", ("schedule_after: 60", "schedule_after: 5"))
    execute(f"prefect --no-prompt work-pool create {MODEL} --type process", made, env=env)
    return made


def change(file, *changes):
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def runs(env, flow):
    """The flow runs, newest first, without scheduled ones."""
    expected = {
        "flows": {"name": {"any_": [flow]}},
        "deployments": {"name": {"any_": [MODEL]}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    return [run for run in api(env, "flow_runs/filter", expected) if not run["auto_scheduled"]]


@pytest.mark.parametrize(
    "missing", [("APO_MODEL",), ("APO_BRANCH", "APO_WORK_POOL"), ("PREFECT_API_URL",)], ids=" ".join
)
def test_what_is_not_set_is_named_and_nothing_is_deployed(workspace, env, missing):
    before = deployments(env)
    without = {name: value for name, value in env.items() if name not in missing}
    done = execute("apo deploy", workspace, check=False, env=without)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert line == f"error: prefect.yaml: not set: {', '.join(missing)}; nothing is deployed"
    assert deployments(env) == before
    assert not [name for name in before if name.endswith(MODEL)]


def test_twice_is_once(workspace, env):
    execute("apo deploy", workspace, env=env)
    made = deployments(env)
    flows = ("pipeline", "approve", "rollback", "reconcile", "alert")
    assert {f"{flow}/{MODEL}" for flow in flows} <= set(made)
    execute("apo deploy", workspace, env=env)
    assert deployments(env) == made
    names = [automation["name"] for automation in api(env, "automations/filter")]
    expected = ("a run has failed", "nothing is reconciled", "a run is silent")
    assert sorted(name for name in names if name.startswith(MODEL)) == sorted(
        f"{MODEL}: {what}" for what in expected
    )


@pytest.fixture(scope="module")
def worker_log(tmp_path_factory):
    return tmp_path_factory.mktemp("worker") / "worker.log"


@pytest.fixture
def worker(env, worker_log):
    process = start_worker(env, worker_log)
    yield process
    stop(process)


def alert_of(env, run, log):
    """The finished run of `alert` that a failed run has caused."""

    def over():
        alerts = [alert for alert in runs(env, "alert") if run in alert["parameters"]["run"]]
        return [alert for alert in alerts if alert["state_type"] == "COMPLETED"]

    (alert,) = until(over, log)
    return alert


def test_a_repository_that_is_not_there_causes_one_message(workspace, env, receiver, worker, worker_log):
    execute("apo deploy", workspace, env=env)
    receiver.received.clear()
    run = start_run(env, f"pipeline/{MODEL}")
    alert_of(env, run, worker_log)
    (message,) = receiver.received
    assert (message["occasion"], message["model"]) == ("failure", MODEL)
    assert ": Crashed: " in message["text"] and "\n" not in message["text"]
    assert message["links"]["run"].endswith(f"/runs/flow-run/{run}")


def test_a_rollback_that_fails_causes_one_message(workspace, env, receiver, worker, worker_log):
    execute("apo deploy", workspace, env=env)
    receiver.received.clear()
    run = start_run(env, f"rollback/{MODEL}", by="Bob", reason="there is nothing to go back to")
    alert_of(env, run, worker_log)
    (message,) = receiver.received
    assert (message["occasion"], message["model"]) == ("failure", MODEL)
    assert message["text"].startswith(f"rollback/{MODEL}: ") and "\n" not in message["text"]


def test_a_failure_that_the_run_has_sent_itself_is_not_sent_again(
    workspace, env, repository, receiver, worker, worker_log
):
    execute(f"git init -q -b main {repository}", workspace)
    execute("echo 'seed: none' >params.yaml", repository)
    execute(COMMIT, repository)
    receiver.received.clear()
    run = start_run(env, f"pipeline/{MODEL}")
    alert_of(env, run, worker_log)
    (message,) = receiver.received
    assert "params.yaml" in message["text"]


def test_unfinished_work_stays_when_the_branch_moves_on(workspace, env, repository, worker, worker_log):
    execute(f"git init -q -b main {repository}", workspace)
    clone = Path(env["APO_WORKSPACES"]) / MODEL
    marker = clone / "data/unfinished/train/checkpoint"
    for seed in ("one", "two", "three"):
        execute(f"echo 'seed: {seed}' >params.yaml && {COMMIT}", repository)
        run = start_run(env, f"pipeline/{MODEL}")
        until(lambda run=run: state_name(env, run) == "Failed", worker_log)
        assert (clone / "params.yaml").read_text() == f"seed: {seed}\n"
        if seed == "one":
            marker.parent.mkdir(parents=True)
            marker.write_text("step 7")
        assert marker.read_text() == "step 7"


@pytest.fixture(scope="module")
def sleeping(workspace, env, repository):
    """A pipeline that only sleeps, and whose missing heartbeat is noticed after a short while."""
    (Path(env["PYTHONPATH"].split(os.pathsep)[0]) / "sleeping.py").write_text(SLEEPING)
    execute(f"git init -q -b main {repository}", workspace)
    execute(f"date >when && touch params.yaml && {COMMIT}", repository)
    change(
        workspace / "prefect.yaml",
        ("flows.pipeline.pipeline", "sleeping.pipeline"),
        ('FREQUENCY: "60"', 'FREQUENCY: "30"'),  # Prefect's shortest
        ("within: 300", "within: 40"),
    )
    execute("apo deploy", workspace, env=env)


def sleeper(env, worker, log):
    """A run and its process, once the run sleeps and has sent a heartbeat."""
    run = start_run(env, f"pipeline/{MODEL}")
    until(lambda: state_name(env, run) == "Running", log)
    time.sleep(8)
    children = psutil.Process(worker.pid).children()
    (process,) = [child for child in children if run in str(child.environ())]
    return run, process


def test_a_process_that_is_killed_causes_one_message(env, sleeping, receiver, worker, worker_log):
    receiver.received.clear()
    run, process = sleeper(env, worker, worker_log)
    process.kill()
    alert_of(env, run, worker_log)  # started after the run has had time to send the message itself
    time.sleep(5)
    (message,) = receiver.received
    assert "Crashed: " in message["text"]
    assert not message["text"].startswith("pipeline/")  # the worker has sent the message, by the flow's hook
    assert message["links"]["run"].endswith(run)
    # To find the hook the worker has loaded the flow.
    assert Path(psutil.Process(worker.pid).cwd()) == worker_log.parent


def test_a_host_that_is_gone_causes_one_message(env, sleeping, receiver, worker, worker_log):
    receiver.received.clear()
    run, _ = sleeper(env, worker, worker_log)
    kill(worker)
    another = start_worker(env, worker_log)
    try:
        alert_of(env, run, worker_log)
    finally:
        kill(another)
    (message,) = receiver.received
    assert "Running, without a sign of life" in message["text"]
    assert message["links"]["run"].endswith(run)
