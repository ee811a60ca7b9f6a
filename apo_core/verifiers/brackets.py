"""Braces that belong together."""

from __future__ import annotations

import re

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is skipped with its backslash


def closing_brace(text: str, start: int, end: int | None = None) -> int | None:
    """Find the brace that closes one which opened right before `start`, before `end`; None if none does."""
    depth = 1
    for brace in _BRACE.finditer(text, start, len(text) if end is None else end):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return brace.start()
    return None
