"""`apo fsck`: what was found, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from tasks.integrity.finding import Finding


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print findings; says whether all is whole or was mended."""
    rows = list(findings)
    if not rows:
        print("everything is as it is recorded")
        return True
    table = Table("", Column("problem", overflow="fold"), Column("", overflow="fold"))
    for finding in rows:
        done = f"[green]{escape(finding.mended)}" if finding.mended else f"[red]{escape(finding.advice)}"
        table.add_row(finding.where, escape(finding.problem), done)
    Console().print(table)
    return all(finding.mended for finding in rows)
