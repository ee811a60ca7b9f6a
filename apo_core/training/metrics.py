"""`metrics.jsonl`: one object per step, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
from pathlib import Path

from apo_core.system.files import write_text

StepMetrics = dict[str, float]


def append_metrics(file: Path, metrics: StepMetrics) -> None:
    """Add one step's line; a line is one write."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(metrics, allow_nan=False) + "\n")


def read_metrics(file: Path) -> list[StepMetrics]:
    """The complete lines of the file; none where there is no file."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    # A line without its end is being written, or was when the process was killed.
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate_metrics(file: Path, steps: int) -> list[StepMetrics]:
    """Drop the steps after number `steps`, which a resumed run does again; return the rest."""
    kept = [metrics for metrics in read_metrics(file) if metrics["step"] <= steps]
    write_text(file, "".join(json.dumps(metrics) + "\n" for metrics in kept))
    return kept


def training_seconds(rows: list[StepMetrics]) -> float:
    """What steps took: sampling, verifying and updating, without checkpoints and the process's start."""
    return sum(row["sampling_seconds"] + row["update_seconds"] for row in rows)
