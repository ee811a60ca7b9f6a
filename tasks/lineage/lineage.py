"""What a version of the registered model was made from, and who let it into production."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from apo_core.decisions.audit_chain import Entry
from apo_core.errors import ApoError
from apo_core.system.files import read_json, sha256_of
from apo_core.tables import read_metadata
from tasks.decisions.aliases import read
from tasks.decisions.log import AuditStore
from tasks.tracking.registry import Registered, download_artifact, registry_errors

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


# What is for machines to compare rather than for people to read.
HASHES = ("run", "commit of the training", "dvc.lock", "fingerprint", *_OUTPUTS, *_INPUTS)


def lineage_of(client: MlflowClient, store: AuditStore, registered: Registered) -> dict[str, str]:
    """Decisions, metrics, algorithm, verifier; commit, `dvc.lock`, data and tables. In words for people.

    What a version does not have is left out, a raw model of one whose reference was trained here, say.

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
    found = {
        "version": f"{registered.name}/{registered.version}",
        "aliases": ", ".join(registered.aliases) or "none",
        **decisions_in_words(
            [one for one in read(client, store, registered.name) if one.version == registered.version]
        ),
        **metrics_in_words(report["eval"]),
        # A report that names none is older than the choice.
        "algorithm": report["train"].get("algorithm", "apo"),
        "verifier": values["fingerprint"]["verifier"],
        "run": registered.run_id,
        "commit of the training": report["lineage"]["git_commit"],
        "dvc.lock": f"sha256 {lock_hash}",
        "fingerprint": report["lineage"]["fingerprint"],
        **{name: _hash(stages, stage, "outs", path) for name, (stage, path) in _OUTPUTS.items()},
        **{name: _hash(stages, stage, "deps", path) for name, (stage, path) in _INPUTS.items()},
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def metrics_in_words(evaluation: dict[str, Any]) -> dict[str, str]:
    """What `reports/eval.json` says, rounded; the intervals are 95% ones."""
    low, high = evaluation["gain_ci95"]
    return {
        "reference pass@1": f"{evaluation['reference']['pass@1']:.3f}",
        "policy pass@1": f"{evaluation['policy']['pass@1']:.3f}",
        "gain over the reference": f"{evaluation['gain']:+.3f} (95% {low:+.3f} to {high:+.3f})",
    }


def decisions_in_words(entries: list[Entry]) -> dict[str, str]:
    """Who started the run, who approved what came of it, and what was said last where that is something else.

    Args:
        entries: those of the log that are on the version.
    """
    of = {entry.event: entry for entry in entries}
    told = {}
    if "candidate" in of:
        told["started by"] = of["candidate"].evidence["started_by"]
    if "approved" in of:
        told["approval"] = _told(of["approved"])
    if entries and entries[-1] not in (of.get("approved"), of.get("candidate")):
        told["last decision"] = _told(entries[-1])
    return told


def _told(entry: Entry) -> str:
    time = entry.time[:16].replace("T", " ")
    return (
        f"{entry.event} by {entry.by} at {time} UTC: {entry.reason} "
        f"(entry {entry.sequence}, {entry.hash[:12]})"
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
