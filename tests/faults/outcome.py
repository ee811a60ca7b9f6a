"""What a run leaves: its bytes, its records, and nothing else."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient

from apo_core.system.files import hashes_below, sha256_of

_FILES = (
    "data/prompts.parquet",
    "data/samples.parquet",
    "data/values.parquet",
    "data/evaluations.parquet",
    "data/policy",
    "data/reference",
    "reports/eval.json",
    "reports/samples.md",
)
_TIMES = re.compile("time|second|rss|per_s|/s")  # of metrics: they differ from run to run
_REST = re.compile(r"\.tmp$|\.old$|^tmp|^champion-|^\.apo-init|\.temp$|-journal$|^core$")


def outcome_of(workspace: Path) -> dict[str, Any]:
    """The hashes of all that a run makes, and what it records, without what depends on the clock."""
    facts: dict[str, Any] = {}
    for name in _FILES:
        file = workspace / name
        facts[name] = hashes_below(file) if file.is_dir() else sha256_of(file) if file.exists() else None
    rows = [json.loads(line) for line in (workspace / "data/metrics.jsonl").read_text().splitlines()]
    facts["metrics"] = [
        {name: value for name, value in row.items() if not _TIMES.search(name)} for row in rows
    ]
    client = MlflowClient(f"sqlite:///{workspace}/.apo/mlflow.db")
    versions = client.search_model_versions("name = 'apo-ci'")
    facts["versions"] = [(str(v.version), v.tags.get("policy_sha256")) for v in versions]
    facts["aliases"] = {
        alias: str(number) for alias, number in client.get_registered_model("apo-ci").aliases.items()
    }
    facts["decisions"] = [
        json.loads(file.read_text())["event"] for file in sorted((workspace / ".apo/audit").rglob("*.json"))
    ]
    run = client.get_run(versions[0].run_id)
    losses = client.get_metric_history(run.info.run_id, "loss")
    facts["losses at MLflow"] = sorted({(point.step, point.value) for point in losses})
    return facts


def differences(workspace: Path, undisturbed: Path) -> list[str]:
    """The names of what differs."""
    ours, theirs = outcome_of(workspace), outcome_of(undisturbed)
    return [name for name in theirs if ours[name] != theirs[name]]


def left_over(workspace: Path) -> list[str]:
    """Processes that work in a workspace, locks that nobody holds, temporary files, runs without an end."""
    left = [f"process {process.pid}" for process in psutil.process_iter() if _works_in(process, workspace)]
    record = workspace / ".dvc/tmp/rwlock"
    if record.exists() and json.loads(record.read_text() or "{}").get("write"):
        left.append("DVC's rwlock")
    for file in workspace.rglob("*"):
        if _REST.search(file.name) and file.name != "tmp" and ".prefect" not in file.parts:
            left.append(str(file.relative_to(workspace)))
    with closing(sqlite3.connect(workspace / ".apo/prefect/prefect.db")) as database:
        running = "SELECT name FROM flow_run WHERE state_type = 'RUNNING'"
        left += [f"run {name} at Prefect" for (name,) in database.execute(running)]
    return left


def _works_in(process: psutil.Process, workspace: Path) -> bool:
    try:
        return process.cwd() == str(workspace)
    except psutil.Error:
        return False
