"""`metrics.jsonl`: one object per step, that of the checkpoint when a run resumes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from apo_core.system.files import write_text

StepMetrics = dict[str, float]


def append_metrics(file: Path, metrics: StepMetrics) -> None:
    """Add one step's line; a line is one write."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(metrics, allow_nan=False) + "\n")


def read_metrics(file: Path) -> list[StepMetrics]:
    """The complete lines of the file; none where there is no file.

    A line that is no step's any more is left out: who relies on all of them has compared the file's hash.
    """
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    # A line without its end is being written, or was when the process was killed.
    rows = [_row(line) for line in lines if line.endswith("\n")]
    return [row for row in rows if row is not None]


def _row(line: str) -> StepMetrics | None:
    try:
        row: StepMetrics = json.loads(line)
    except ValueError:
        return None
    numbers = isinstance(row, dict) and all(isinstance(value, int | float) for value in row.values())
    return row if numbers and {"step", "time"} <= row.keys() else None


def write_metrics(file: Path, rows: Iterable[StepMetrics]) -> None:
    """Write steps in the place of what the file holds."""
    write_text(file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def training_seconds(rows: list[StepMetrics]) -> float:
    """What steps took: sampling, verifying and updating, without checkpoints and the process's start."""
    return sum(row["sampling_seconds"] + row["update_seconds"] for row in rows)
