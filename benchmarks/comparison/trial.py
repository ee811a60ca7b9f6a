"""One training of one algorithm: stage `train` as it is, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from apo_core.training.metrics import StepMetrics, read_metrics, training_seconds
from benchmarks.apart import ProcessFailed
from benchmarks.comparison.arena import enter, said_by, stage1_seconds, start_stage
from benchmarks.comparison.space import learns_from_values
from tasks.stages.process import INPUT_ERROR
from tasks.workspace import Workspace

_COLLAPSED = ("the policy collapsed", "not finite")  # in what `PolicyCollapse` says
_POLL_SECONDS = 0.25
MANY = 100_000  # steps, and checkpoints: more than there is time for


class Trial(NamedTuple):
    """What came of a training."""

    place: Workspace  # with the checkpoints
    stage1_seconds: float  # 0 where stage 1 is no part of it
    rows: list[StepMetrics]
    peak_rss_mib: float
    collapsed: str | None  # what the guard said

    @property
    def seconds(self) -> list[float]:
        """Since stage 1 or, without it, training began: before the first step, and after each."""
        return list(accumulate((training_seconds([row]) for row in self.rows), initial=self.stage1_seconds))


def run_trial(
    arena: Workspace,
    directory: Path,
    settings: list[str],
    *,
    steps: int,
    checkpoint_every: int,
    keep: int,
    seconds: float | None,
    threads: int,
) -> Trial:
    """Train, until the steps are done, the seconds have passed or the guard stops it.

    Args:
        arena: where.
        directory: of the training, made anew.
        settings: beside the arena's configuration.
        steps: at most.
        checkpoint_every: steps.
        keep: so many of the last checkpoints.
        seconds: of training, after which it is ended; stage 1 is a part where the algorithm needs it; None
            for no limit.
        threads: that it computes with.

    Raises:
        ProcessFailed: it ended for another reason than those.
    """
    own = [
        "train.epochs=null",
        f"train.steps={steps}",
        f"train.checkpoint.every={checkpoint_every}",
        f"train.checkpoint.keep={keep}",
    ]
    place = enter(arena, directory, [*settings, *own], threads)
    # That the others' prompts were selected by stage 1 costs them nothing here.
    before = stage1_seconds(place) if learns_from_values(settings) else 0.0
    limit = None if seconds is None else seconds - before
    metrics = place.work("train") / "metrics.jsonl"
    ended = _wait(start_stage(place, "train", threads), metrics, limit)
    trial = Trial(place, before, read_metrics(metrics), ended.peak_rss_mib, None)
    if ended.out_of_time or (ended.code == 0 and len(trial.rows) == steps):
        return trial
    said = said_by(place, "train")
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    why = [line for line in errors if any(words in line for words in _COLLAPSED)]
    if ended.code != INPUT_ERROR or not why:
        raise ProcessFailed(f"{directory}: exit status {ended.code}: {said[-2000:]}")
    return trial._replace(collapsed=why[-1].removeprefix("error: "))


class _Ended(NamedTuple):
    code: int  # exit status, or less than 0 the signal
    out_of_time: bool  # it was ended for that
    peak_rss_mib: float


def _wait(process: subprocess.Popen[bytes], metrics: Path, seconds: float | None) -> _Ended:
    """Wait for the end of a training, which comes with a signal once it has had its seconds."""
    signalled = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)  # nobody else may wait for it now
            out_of_time = signalled and process.returncode == -signal.SIGTERM
            return _Ended(process.returncode, out_of_time, usage.ru_maxrss / 1024)
        if not signalled and seconds is not None and training_seconds(read_metrics(metrics)) >= seconds:
            os.kill(process.pid, signal.SIGTERM)  # not by Popen, which would wait for it
            signalled = True
        time.sleep(_POLL_SECONDS)
