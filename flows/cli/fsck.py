"""`apo fsck`: what was found, in lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flows.cli.hints import in_workspace
from tasks.integrity.finding import Finding


def print_findings(findings: Iterable[Finding], aside: Path, workspace: str = "") -> bool:
    """Print findings as they come; says whether all is whole or was mended.

    Args:
        findings: of `tasks.integrity.fsck`.
        aside: where damaged files were moved to.
        workspace: what `-w` names, for the commands that are advised.
    """
    whole, count = True, 0
    for finding in findings:
        count += 1
        whole = whole and bool(finding.mended)
        print(f"{finding.where}: {finding.problem}")
        advice = in_workspace(finding.advice, workspace)
        print(f"    {finding.mended or f'to do: {advice}'}", flush=True)
    if not count:
        print("everything is as it is recorded")
    if aside.exists():
        print(f"what was damaged is in {aside}")
    return whole
