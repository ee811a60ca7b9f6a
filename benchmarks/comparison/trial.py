"""One training of one algorithm: stage `train` as it is, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from apo_core.training.metrics import StepMetrics, read_metrics
from benchmarks.comparison.arena import StageFailed, enter, said_by, start_stage
from tasks.workspace import Workspace

_COLLAPSED = ("the policy collapsed", "is not finite")
_POLL_SECONDS = 0.25


class Trial(NamedTuple):
    """What came of a training."""

    place: Workspace  # with the checkpoints
    rows: list[StepMetrics]
    peak_rss_mib: float
    collapsed: str | None  # what the guard said

    @property
    def seconds(self) -> list[float]:
        """Of training, at the end of each step: drawing, verifying and updating, nothing else."""
        total, ends = 0.0, []
        for row in self.rows:
            total += row["sampling_seconds"] + row["update_seconds"]
            ends.append(total)
        return ends


def run_trial(
    arena: Workspace,
    directory: Path,
    settings: list[str],
    *,
    steps: int,
    checkpoint_every: int,
    seconds: float | None,
    threads: int,
) -> Trial:
    """Train, until the steps are done, the seconds have passed or the guard stops it.

    Args:
        arena: where.
        directory: of the training, made anew.
        settings: beside the arena's configuration.
        steps: at most.
        checkpoint_every: steps; all checkpoints are kept.
        seconds: of training, after which it is ended; None for no limit.
        threads: that it computes with.

    Raises:
        StageFailed: it ended for another reason than a collapse.
    """
    own = [f"train.steps={steps}", f"train.checkpoint.every={checkpoint_every}"]
    keep = f"train.checkpoint.keep={steps // checkpoint_every + 1}"
    place = enter(arena, directory, [*settings, "train.epochs=null", *own, keep], threads)
    metrics = place.work("train") / "metrics.jsonl"
    process = start_stage(place, "train", threads)
    peak, code = _wait(process, metrics, seconds)
    trial = Trial(place, read_metrics(metrics), peak, None)
    if code in (0, -signal.SIGTERM):
        return trial
    said = said_by(place, "train")
    why = [line for line in said.splitlines() if any(words in line for words in _COLLAPSED)]
    if not why:
        raise StageFailed(f"{directory}: {said[-2000:]}")
    return trial._replace(collapsed=why[-1])


def _wait(process: subprocess.Popen[bytes], metrics: Path, seconds: float | None) -> tuple[float, int]:
    """The peak memory in MiB of a process, and its exit code, once it has ended or has been ended."""
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss / 1024, process.returncode
        rows = read_metrics(metrics) if seconds is not None else []
        spent = sum(row["sampling_seconds"] + row["update_seconds"] for row in rows)
        if seconds is not None and spent >= seconds:
            process.send_signal(signal.SIGTERM)
        time.sleep(_POLL_SECONDS)
