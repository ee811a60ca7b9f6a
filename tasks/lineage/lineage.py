"""What a version of the registered model was made from, and who decided on it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from apo_core.decisions.audit_chain import Entry, author_in_words
from apo_core.errors import ApoError
from apo_core.evaluation.schema import bounds_in_words, mean_name
from apo_core.system.files import read_json, sha256_of
from apo_core.tables import read_metadata
from tasks.integrity.run_artifacts import LOCK, REPORT, VALUES, take_artifact
from tasks.tracking.registry import Registered, registry_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Stage and path in `dvc.lock` of what the lineage gives the hash of.
_OUTPUTS = {
    "reference": ("reference", "data/reference"),
    "prompts": ("prepare", "data/prompts.parquet"),
    "samples": ("sample", "data/samples.parquet"),
    "value table": ("values", "data/values.parquet"),
    "policy": ("train", "data/policy"),
}
_INPUTS = {"raw prompts": ("prepare", "data/raw/prompts"), "raw model": ("reference", "data/raw/model")}

# Lines that machines compare; people read the others.
HASHES = ("run", "commit of the training", "dvc.lock", "fingerprint", *_OUTPUTS, *_INPUTS)


def lineage_of(client: MlflowClient, registered: Registered, entries: list[Entry]) -> dict[str, str]:
    """Describe a version in lines of a name and a text.

    The lines: decisions, metrics, algorithm, verifier; commit, `dvc.lock`, data and tables. A line that a
    version does not have is left out: the raw model, for example, if the reference policy was trained here.

    Args:
        client: of the registry.
        registered: the version.
        entries: the log of the decisions on its model.

    Raises:
        ApoError: the run of the version has lost an artifact, or one is damaged.
    """
    with tempfile.TemporaryDirectory() as directory, registry_errors():
        scratch = Path(directory)
        lock = _artifact(client, registered, LOCK, scratch)
        report = read_json(_artifact(client, registered, REPORT, scratch))
        values = read_metadata(_artifact(client, registered, VALUES, scratch))
        stages = YAML(typ="safe").load(lock)["stages"]
        lock_hash = sha256_of(lock)
    lines = {
        "version": f"{registered.name}/{registered.version}",
        "aliases": ", ".join(registered.aliases) or "none",
        **decisions_in_words([entry for entry in entries if entry.version == registered.version]),
        **metrics_in_words(report["eval"]),
        # The report of an earlier version names no algorithm: there was only one.
        "algorithm": report["train"].get("algorithm", "apo"),
        "verifier": values["fingerprint"]["verifier"],
        "run": registered.run_id,
        "commit of the training": report["lineage"]["git_commit"],
        "dvc.lock": f"sha256 {lock_hash}",
        "fingerprint": report["lineage"]["fingerprint"],
        **{name: _hash(stages, stage, "outs", path) for name, (stage, path) in _OUTPUTS.items()},
        **{name: _hash(stages, stage, "deps", path) for name, (stage, path) in _INPUTS.items()},
    }
    return {name: str(value) for name, value in lines.items() if value is not None}


def metrics_in_words(evaluation: dict[str, Any]) -> dict[str, str]:
    """Spell out `reports/eval.json`, rounded; the intervals are 95% ones."""
    low, high = evaluation["gain_ci95"]
    score = mean_name(evaluation["policy"])
    bounds = {}
    if "gain_bounds" in evaluation:
        bounds["gain, whatever the missing rewards"] = bounds_in_words(evaluation)
    return {
        f"reference {score}": f"{evaluation['reference'][score]:.3f}",
        f"policy {score}": f"{evaluation['policy'][score]:.3f}",
        "gain over the reference": f"{evaluation['gain']:+.3f} (95% {low:+.3f} to {high:+.3f})",
        **bounds,
    }


def decisions_in_words(entries: list[Entry]) -> dict[str, str]:
    """Spell out who started the run, who approved the version, and the last decision if it is another one.

    Args:
        entries: those on the version.
    """
    newest = {entry.event: entry for entry in entries}
    lines = {}
    if "candidate" in newest:
        evidence = newest["candidate"].evidence
        lines["started by"] = evidence["started_by"]
        if "confirmed_gain" in evidence:
            lines["gain by fresh responses"] = evidence["confirmed_gain"]
    if "approved" in newest:
        lines["approval"] = _decision_in_words(newest["approved"])
    if entries and entries[-1] not in (newest.get("approved"), newest.get("candidate")):
        lines["last decision"] = _decision_in_words(entries[-1])
    return lines


def _decision_in_words(entry: Entry) -> str:
    time = entry.time[:16].replace("T", " ")
    return (
        f"{entry.event} by {author_in_words(entry)} at {time} UTC: {entry.reason} "
        f"(entry {entry.sequence}, {entry.hash[:12]})"
    )


def _hash(stages: dict[str, Any], stage: str, kind: str, path: str) -> str | None:
    for item in stages.get(stage, {}).get(kind, ()):
        if item["path"] == path:
            return f"md5 {item['md5']}"
    return None


def _artifact(client: MlflowClient, registered: Registered, path: str, scratch: Path) -> Path:
    file = take_artifact(client, registered.run_id, path, scratch)
    if file is None:
        raise ApoError(f"{registered.name}/{registered.version}: its run {registered.run_id} has no {path}")
    return file
