"""`reports/summary.json`: the report, completed with what only the flow knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apo_core.files import read_json, sha256_of
from tasks.registry import Registered, find
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


def complete_summary(
    workspace: Workspace, decision: dict[str, str], registered: Registered | None
) -> dict[str, Any]:
    """The report with the registry's fields, the final decision and the hash of `dvc.lock`."""
    summary: dict[str, Any] = read_json(workspace.report)
    summary["decision"] = decision
    if registered is not None:
        summary["model"] |= {"version": registered.version, "aliases": registered.aliases}
    summary["lineage"]["dvc_lock_sha256"] = sha256_of(workspace.lock)
    return summary


def finished_summary(workspace: Workspace) -> dict[str, Any] | None:
    """The summary of the last pipeline run if it is complete and `dvc.lock` is still the one it describes.

    What it says of the registry may be history: see `registry_agrees`.
    """
    if not (workspace.summary.exists() and workspace.lock.exists()):
        return None
    summary: dict[str, Any] = read_json(workspace.summary)
    return summary if summary["lineage"]["dvc_lock_sha256"] == sha256_of(workspace.lock) else None


def registry_agrees(client: MlflowClient, summary: dict[str, Any]) -> bool:
    """Whether the registry still has the summary's version; its aliases are brought up to date."""
    model = summary["model"]
    if model["version"] is None:
        return True
    registered = find(client, model["name"], model["version"])
    if registered is not None:
        model["aliases"] = registered.aliases
    return registered is not None
