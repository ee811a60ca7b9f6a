"""No secret is kept or shown: all are canaries of a run and a decision on real services."""

import os
import subprocess
from pathlib import Path

import boto3
import mlflow
import pytest
from builders import execute
from prefect_worker import COMMIT, deployment_env, start_run, start_worker, state_name, stop, until
from webhook_receiver import PATH, SECRET, receiving

from apo_core.config.file import load_params, set_params
from flows.services.paths import BUCKETS
from flows.services.postgres import programs
from tasks.decisions.decide import propose
from tasks.decisions.log import open_log
from tasks.tracking.registry import find
from tasks.tracking.runs import last_finished_run
from tasks.workspace import Workspace

pytestmark = pytest.mark.production

MODEL, REASON = "apo-secrets", "known-by-all-4c0d"
# Half a minute of training that learns nothing: the test itself proposes the version to decide on.
SETTINGS = (
    f"tracking.model={MODEL}",
    "promotion.approval=manual",
    "reference.scratch.steps=60",
    "data.train_prompts=32",
    "data.eval_prompts=16",
    "values.drop_unsolved=false",
    "train.steps=2",
)


@pytest.fixture(scope="module")
def env(services, tmp_path_factory):
    base = tmp_path_factory.mktemp("secrets")
    with receiving() as receiver:
        own = deployment_env(services, base / "source", MODEL)
        yield own | receiver.env | {"COLUMNS": "1000"}  # otherwise tables would wrap words, secrets included


@pytest.fixture(scope="module")
def source(env):
    """A workspace in git."""
    source = Path(env["APO_REPOSITORY"].removeprefix("file://"))
    execute(f"apo init {source} --preset ci", source.parent)
    set_params(source / "params.yaml", SETTINGS)
    execute(
        "git init -q -b main && dvc config core.no_scm false"
        f" && dvc remote add -q --default store s3://dvc/secrets && {COMMIT}",
        source,
    )
    execute(f"prefect --no-prompt work-pool create {MODEL} --type process", source, env=env)
    return source


@pytest.fixture(scope="module")
def said(source, env):
    """The output of the worker and of the commands during a run and a decision."""
    log, texts = source.parent / "worker.log", {}
    texts["deploy"] = execute("apo deploy", source, env=env).stdout
    worker = start_worker(env, log)
    try:
        run = start_run(env, f"pipeline/{MODEL}")
        until(lambda: state_name(env, run) in ("Completed", "Failed", "Crashed"), log, 400)
        assert state_name(env, run) == "Completed", log.read_text()[-6000:]
    finally:
        stop(worker)
    propose_the_run(source, env)
    for command in (
        f"approve {MODEL} 1 --by Bob --reason {REASON}",
        f"audit {MODEL}",
        f"lineage {MODEL}@champion",
    ):
        texts[command.split()[0]] = execute(f"apo {command}", source, env=env).stdout
    return texts | {"worker": log.read_text()}


def propose_the_run(source, env):
    """Make the run's policy a candidate, whatever it has learned."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        log = open_log(Workspace(source), MODEL)
        client = log.client
        run = last_finished_run(client, MODEL)
        client.create_registered_model(MODEL)
        client.create_model_version(MODEL, f"runs:/{run}/reports", run)
        rules = load_params(source / "params.yaml").promotion
        propose(log, find(client, MODEL, "1"), rules, started_by="Ada Lovelace", evidence={})
    mlflow.set_tracking_uri(None)


def dumped(services, database):
    """All rows of a database, as a backup has them."""
    paths = services.paths()
    command = [str(programs() / "pg_dump"), "--data-only", f"postgresql://{paths.database(*database)}"]
    secret = {"PGPASSFILE": str(paths.passwords_of_databases)}
    return subprocess.run(command, env=os.environ | secret, capture_output=True, check=True).stdout


def stored(bucket):
    """Every object of a bucket, by name."""
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [kept["Key"] for page in pages for kept in page.get("Contents", [])]
    return {f"{bucket}/{key}": s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_no_secret_is_kept_or_shown(services, source, said, client_env):
    kept = {name: text.encode() for name, text in said.items()}
    for database in (("prefect",), ("mlflow",), ("mlflow", "mlflow_accounts")):
        kept[f"database {database[-1]}"] = dumped(services, database)
    for bucket in BUCKETS:
        kept |= stored(bucket)
    for directory in (source.parent, services.root / "logs"):
        kept |= {str(file): file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    # The search finds a string that is no secret, so it would find a secret too.
    for source_name in ("audit", "lineage", "database mlflow", f"audit/apo/{MODEL}/00000002.json"):
        assert REASON.encode() in kept[source_name], source_name
    assert MODEL.encode() in kept["database prefect"]
    assert any(name.endswith("lineage/params.yaml") for name in kept)
    canaries = {"webhook": SECRET, "its address": PATH} | services.paths().passwords
    assert not [
        (name, canary)
        for name, text in kept.items()
        for canary, secret in canaries.items()
        if secret.encode() in text
    ]
