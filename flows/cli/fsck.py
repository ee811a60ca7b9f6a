"""`apo fsck`: what was found, in lines."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.integrity.finding import Finding


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; says whether all is whole or was mended."""
    whole, count = True, 0
    for finding in findings:
        count += 1
        whole = whole and bool(finding.mended)
        print(f"{finding.where}: {finding.problem}")
        print(f"    {finding.mended or f'not mended: {finding.advice}'}", flush=True)
    if not count:
        print("everything is as it is recorded")
    return whole
