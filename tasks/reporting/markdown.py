"""Write Markdown tables whose cells may hold any text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

# What Markdown or a page's formulas would take for markup; < and & begin HTML.
_MARKUP = str.maketrans({**{sign: f"\\{sign}" for sign in r"\`*_[]|~$"}, "<": "&lt;", "&": "&amp;"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def frame_table(frame: pd.DataFrame, width: int = 120) -> str:
    """A table of a frame's columns, see `table`."""
    return table(frame.to_dict(orient="records"), width)


def table(rows: Iterable[dict[Any, Any]], width: int = 120) -> str:
    """A Markdown table; every row has the first one's columns."""
    rows = list(rows)
    if not rows:
        return "(none)"
    header = [str(name) for name in rows[0]]
    lines = [header, ["---"] * len(header), *([cell(value, width) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object, width: int = 120) -> str:
    """One line of at most about `width` characters, without markup; long text loses its middle.

    The end is kept: a prompt's question and a response's answer stand there.
    """
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    if len(text) > width:
        end = width // 2
        text = f"{text[: width - end]} ... {text[-end:]}"
    lines = re.split(r"\r\n|[\r\n]", text)
    return " ⏎ ".join(_CONTROL.sub(" ", line) for line in lines).translate(_MARKUP)
