"""What a version of the registered model was made from, and who let it into production."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from apo_core.audit import Entry
from apo_core.errors import ApoError
from apo_core.files import read_json, sha256_of
from apo_core.tables import read_metadata
from tasks.audit_store import AuditStore
from tasks.follow import read
from tasks.registry import Registered, download_artifact, registry_errors, resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What of `dvc.lock` names what: the hash of data and of every table.
_OUTPUTS = {
    "reference": ("reference", "data/reference"),
    "prompts": ("prepare", "data/prompts.parquet"),
    "samples": ("sample", "data/samples.parquet"),
    "value table": ("values", "data/values.parquet"),
    "policy": ("train", "data/policy"),
}
_INPUTS = {"raw prompts": ("prepare", "data/raw/prompts"), "raw model": ("reference", "data/raw/model")}


def lineage_of(client: MlflowClient, store: AuditStore, registered: Registered) -> dict[str, Any]:
    """Commit, `dvc.lock`, data, value table and its fingerprint, verifier, algorithm, metrics, approver.

    Raises:
        ApoError: its run has lost what is asked for.
    """
    with tempfile.TemporaryDirectory() as directory, registry_errors():
        scratch = Path(directory)
        lock = _artifact(client, registered, "lineage/dvc.lock", scratch)
        report = read_json(_artifact(client, registered, "reports/report.json", scratch))
        values = read_metadata(_artifact(client, registered, "tables/values.parquet", scratch))
        stages = YAML(typ="safe").load(lock)["stages"]
        lock_hash = sha256_of(lock)
    evaluation = report["eval"]
    return {
        "version": f"{registered.name}/{registered.version}",
        "aliases": registered.aliases,
        "run": registered.run_id,
        "commit of the training": report["lineage"]["git_commit"],
        "dvc.lock": f"sha256 {lock_hash}",
        **{name: _hash(stages, stage, "outs", path) for name, (stage, path) in _OUTPUTS.items()},
        **{name: _hash(stages, stage, "deps", path) for name, (stage, path) in _INPUTS.items()},
        "fingerprint": report["lineage"]["fingerprint"],
        "verifier": values["fingerprint"]["verifier"],
        # A report that names none is older than the choice.
        "algorithm": report["train"].get("algorithm", "apo"),
        "reference pass@1": evaluation["reference"]["pass@1"],
        "policy pass@1": evaluation["policy"]["pass@1"],
        "gain": evaluation["gain"],
        "gain, 95% interval": evaluation["gain_ci95"],
        **_decisions(client, store, registered),
    }


def describe_version(client: MlflowClient, store: AuditStore, model: str, version: str) -> str:
    """What a person is shown who is to decide, as Markdown."""
    found = lineage_of(client, store, resolve(client, f"{model}/{version}"))
    return "\n".join(f"- {name}: {value}" for name, value in found.items())


def _decisions(client: MlflowClient, store: AuditStore, registered: Registered) -> dict[str, Any]:
    """Who started the run, who approved what came of it, and what was said last."""
    entries = [one for one in read(client, store, registered.name) if one.version == registered.version]
    of = {entry.event: entry for entry in entries}
    return {
        "started by": of["candidate"].evidence["started_by"] if "candidate" in of else None,
        "approved by": _told(of["approved"]) if "approved" in of else None,
        "last decision": _told(entries[-1]) if entries else None,
    }


def _told(entry: Entry) -> str:
    return (
        f"{entry.event} by {entry.by} at {entry.time}: {entry.reason} (entry {entry.sequence}, {entry.hash})"
    )


def _hash(stages: dict[str, Any], stage: str, kind: str, path: str) -> str | None:
    for one in stages.get(stage, {}).get(kind, ()):
        if one["path"] == path:
            return f"md5 {one['md5']}"
    return None


def _artifact(client: MlflowClient, registered: Registered, path: str, scratch: Path) -> Path:
    found = download_artifact(client, registered.run_id, path, scratch)
    if found is None:
        raise ApoError(f"{registered.name}/{registered.version}: its run {registered.run_id} has no {path}")
    return found
