"""`reports/summary.json`: the report, completed with what only the flow knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apo_core.decisions.approval_rule import State, expired_undecided, has_expired
from apo_core.system.files import read_json, sha256_of
from tasks.decisions.log import DecisionLog
from tasks.tracking.registry import Registered, find
from tasks.workspace import Workspace


def complete_summary(
    log: DecisionLog,
    workspace: Workspace,
    decision: dict[str, str],
    registered: Registered | None,
    run_id: str,
) -> dict[str, Any]:
    """The report with MLflow's run, the registry's fields, the final decision and the hash of `dvc.lock`."""
    summary: dict[str, Any] = read_json(workspace.report)
    summary["decision"] = decision
    summary["run_id"] = run_id
    summary["approval"] = None
    if registered is not None:
        summary["model"] |= {"version": registered.version, "aliases": registered.aliases}
        summary["approval"] = _approval(log.state(), registered.version)
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


def registry_agrees(log: DecisionLog, summary: dict[str, Any]) -> bool:
    """Whether the registry still has the version, and nobody let the time pass in which to decide on it.

    Its aliases and approval are brought up to date. A version that is to be decided on and was not in time
    goes to the registry again, which compares it with the present champion and opens its approval anew.
    """
    model = summary["model"]
    if model["version"] is None:
        return True
    registered = find(log.client, model["name"], model["version"])
    if registered is None:
        return False
    state = log.state()
    model["aliases"] = registered.aliases
    summary["approval"] = _approval(state, registered.version)
    wanted = summary["decision"]["outcome"] == "promote"
    return not (wanted and expired_undecided(state, registered.version, datetime.now(UTC)))


def waits(summary: dict[str, Any]) -> bool:
    """Whether the summary's version waits for a person."""
    return summary["approval"] is not None and bool(summary["approval"]["waits"])


def _approval(state: State, version: str) -> dict[str, Any] | None:
    """What was last said of a version, and whether it waits for more."""
    last, pending = state.last.get(version), state.pending
    if last is None:
        return None
    waits = pending is not None and pending == last and not has_expired(pending, datetime.now(UTC))
    return {
        "event": last.event,
        "by": last.by,
        "reason": last.reason,
        "time": last.time,
        "waits": waits,
    }
