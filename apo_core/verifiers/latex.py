r"""Pieces of LaTeX in a text, and upright text within LaTeX."""

from __future__ import annotations

import re

# Between "$", "$$", "\(" and "\)", "\[" and "\]"
PIECES = re.compile(r"(?<!\\)\$\$?([^$]+?)(?<!\\)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
TEXT = r"\\(?:text|mathrm|mathbf|mbox|textrm|operatorname|rm)(?:bf|rm|it)?\s*"
UPRIGHT = re.compile(rf"{TEXT}\{{([^{{}}]*)\}}")


def pieces_of(text: str) -> list[str]:
    """List what stands between dollars or LaTeX's brackets of formulas."""
    return [next(part for part in match.groups() if part) for match in PIECES.finditer(text)]
