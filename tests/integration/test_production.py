"""Production on real services: schedule, form, rejection, rollback, audit, a clean clone."""

import json
import shutil
import time
from pathlib import Path

import boto3
import mlflow
import pytest
from builders import execute
from prefect_worker import api, until
from production_fixtures import mlflow_client, pipeline_runs, production_of

from apo_core.config.file import load_params
from tasks.decisions import decide
from tasks.decisions.log import open_log
from tasks.tracking.registry import find
from tasks.workspace import Workspace

pytestmark = pytest.mark.production

MODEL = "apo-production"
SETTINGS = (
    "promotion.approval=manual",
    "promotion.four_eyes=true",
    "train.steps=12",
    "pipeline.retry_delay_seconds=1.0",
)
BOB = {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": "looks-at-what-ada-made"}
EVERY_MINUTE = "* * * * *"  # a nightly run would keep this test waiting


@pytest.fixture(scope="module")
def production(services, tmp_path_factory):
    base = tmp_path_factory.mktemp("production")
    with production_of(services, base, MODEL, *SETTINGS, cron=EVERY_MINUTE) as made:
        yield made


@pytest.fixture
def client(production, monkeypatch):
    with mlflow_client(production.env, monkeypatch) as connected:
        yield connected


@pytest.fixture
def log(client, production):
    return open_log(Workspace(production.source), MODEL)


def aliases(client):
    return {name: str(number) for name, number in client.get_registered_model(MODEL).aliases.items()}


@pytest.fixture(scope="module")
def scheduled(production):
    """The schedule's first two runs; then the schedule is paused."""

    def finished():
        runs = production.runs("pipeline")
        assert not [run for run in runs if run["state_type"] in ("FAILED", "CRASHED")], (
            production.worker.text()[-6000:]
        )
        done = [run for run in runs if run["state_type"] == "COMPLETED"]
        return done if len(done) >= 2 else None

    runs = until(finished, production.worker.log, 600)
    production.pause_schedules("pipeline")
    production.wait_for_rest()
    return runs


def test_from_a_schedule_to_a_champion_and_back(production, scheduled, client, log, tmp_path):
    assert all(run["auto_scheduled"] for run in scheduled)
    # The second run found nothing changed: it made no MLflow run and no second candidate.
    (trained,) = pipeline_runs(client, MODEL)
    assert trained.data.tags["started_by"] == "Ada Lovelace"  # the author of the commit
    assert "/flow-run/" in trained.data.tags["pipeline_run"]  # what the form links to
    assert aliases(client) == {"candidate": "1"}
    _approve_with_an_account(production, client)
    _reject_new_data(production, client, log)
    _roll_back(production, client, log)
    _restore_in_a_clean_clone(production, client, trained, tmp_path)
    _find_a_tampered_line(production, log)


def _form(production, version):
    """The suspended run that requests a decision on a version."""

    def asked():
        runs = [run for run in production.runs("approve") if run["parameters"]["version"] == version]
        return next((run["id"] for run in runs if run["state_name"] == "Suspended"), None)

    form = until(asked, production.worker.log)
    time.sleep(3)  # no person answers while the process that has asked still ends
    return form


def _approve_with_an_account(production, client):
    """A form cannot show that Bob is another than the one who started the run; his account does."""
    form = _form(production, "1")
    refused = production.answer(form, approver="Bob", reason="no decision is no yes")
    assert refused["status"] == "REJECT" and "decision" in json.dumps(refused)
    # It comes again, with the reason.
    production.answer(form, approver="Bob", decision="approve", reason="it reasons")
    until(lambda: "approves, by `apo approve`" in json.dumps(_logs(production, form)), production.worker.log)
    production.wait(form, "Suspended")
    assert aliases(client) == {"candidate": "1"}
    _make_account(production)
    _approve_as_bob(production, "1", "it reasons")
    assert aliases(client) == {"candidate": "1", "champion": "1"}
    production.start_run("reconcile")
    production.wait(form, "Cancelled")


def _make_account(production):
    from mlflow.server import get_app_client  # its import creates ./mlruns when no tracking URI is set

    at_mlflow = get_app_client("basic-auth", tracking_uri=production.env["MLFLOW_TRACKING_URI"])
    at_mlflow.create_user(BOB["MLFLOW_TRACKING_USERNAME"], BOB["MLFLOW_TRACKING_PASSWORD"])
    at_mlflow.grant_user_permission(BOB["MLFLOW_TRACKING_USERNAME"], "registered_model", MODEL, "EDIT")


def _approve_as_bob(production, version, reason):
    command = f"apo approve {MODEL} {version} --by Bob --reason '{reason}'"
    execute(command, production.source, env=production.env | BOB)


def _logs(production, run_id):
    lines = api(production.env, "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
    return [line["message"] for line in lines]


def _reject_new_data(production, client, log):
    production.commit("data.train_prompts=640", "train.steps=60")
    shutil.rmtree(production.clone)  # as on a machine without a clone
    production.wait(production.start_run("pipeline"), "Completed")
    newest = pipeline_runs(client, MODEL)[0]
    # What does not depend on it is not made again.
    assert newest.data.tags["changed"] == "prepare, train"
    output = production.worker.text().rsplit("'restore'", 1)[-1]
    assert "reference: unchanged" in output and "sample: ran" in output
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    form = _form(production, "2")
    production.answer(form, approver="Bob", decision="reject", reason="too long")
    production.wait(form, "Completed", seconds=120)
    assert aliases(client) == {"champion": "1"}
    last = log.read()[-1]
    assert (last.event, last.version, last.by) == ("rejected", "2", "Bob")


def _roll_back(production, client, log):
    first = client.get_model_version(MODEL, "1")
    mlflow.register_model(first.source, MODEL)  # another, made elsewhere
    rules = _rules(production)
    decide.propose(log, find(client, MODEL, "3"), rules, started_by="Ada Lovelace", evidence={})
    _approve_as_bob(production, "3", "looks the same")
    assert aliases(client)["champion"] == "3"
    run = production.start_run("rollback", by="Cy", reason="it is the same")
    production.wait(run, "Completed", seconds=120)
    assert aliases(client)["champion"] == "1"
    events = [(entry.event, entry.version) for entry in log.read() if entry.event != "compared"]
    assert events == [
        ("candidate", "1"),
        ("approved", "1"),
        ("candidate", "2"),
        ("rejected", "2"),
        ("candidate", "3"),
        ("approved", "3"),
        ("rollback", "1"),
    ]


def _rules(production):
    return load_params(production.source / "params.yaml").promotion


def _restore_in_a_clean_clone(production, client, trained, tmp_path):
    execute(f"git clone -q {production.source} clone", tmp_path)
    clone = tmp_path / "clone"
    production.execute(f"apo restore {MODEL}@champion", clone)
    file = client.download_artifacts(trained.info.run_id, "tables/values.parquet", str(tmp_path))
    assert (clone / "data/values.parquet").read_bytes() == Path(file).read_bytes()
    assert "train_prompts: 640" not in (clone / "params.yaml").read_text()
    assert "up to date" in production.execute("dvc status", clone).stdout
    shown = production.execute(f"apo lineage {MODEL}@champion", clone).stdout
    assert "approved by Bob" in shown and "rollback by Cy" in shown


def _find_a_tampered_line(production, log):
    (number,) = (entry.sequence for entry in log.read() if entry.event == "approved" and entry.version == "1")
    s3, key = boto3.client("s3"), f"apo/{MODEL}/{number:08}.json"
    original = s3.get_object(Bucket="audit", Key=key)["Body"].read()
    assert (
        f"{len(log.read())} entries, verified"
        in production.execute(f"apo audit {MODEL}", production.source).stdout
    )
    assert b"Bob" in original
    s3.put_object(Bucket="audit", Key=key, Body=original.replace(b"Bob", b"Eve"))
    try:
        audit = production.execute(f"apo audit {MODEL}", production.source, check=False)
        assert (audit.returncode, f"entry {number} has been changed" in audit.stdout) == (2, True)
    finally:
        s3.put_object(Bucket="audit", Key=key, Body=original)
    assert log.state().champion == "1"
