"""One training of one algorithm: stage `train` in a process of its own, ended after a given time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from apo_core.training.metrics import StepMetrics, read_metrics, training_seconds
from benchmarks.comparison.search_space import uses_v_star
from benchmarks.comparison.workspaces import (
    make_training_workspace,
    stage1_seconds,
    stage_output,
    start_stage,
)
from benchmarks.processes import ProcessFailed
from tasks.stages.process import INPUT_ERROR
from tasks.workspace import Workspace

_COLLAPSED = ("the policy collapsed", "not finite")  # parts of `PolicyCollapse` messages
_POLL_SECONDS = 0.25
MANY = 100_000  # steps or checkpoints: more than there is time for


class Trial(NamedTuple):
    """Outcome of a training."""

    workspace: Workspace  # with the checkpoints
    stage1_seconds: float  # 0 for algorithms that need no stage 1
    rows: list[StepMetrics]  # one per step
    peak_rss_mib: float
    collapsed: str | None  # the guard's message

    @property
    def seconds(self) -> list[float]:
        """Seconds since the start (of stage 1, where needed): before the first step, and after each step."""
        return list(accumulate((training_seconds([row]) for row in self.rows), initial=self.stage1_seconds))


def run_trial(
    seed_workspace: Workspace,
    directory: Path,
    overrides: list[str],
    *,
    steps: int,
    checkpoint_every: int,
    keep: int,
    seconds: float | None,
    threads: int,
) -> Trial:
    """Train until the steps are done, the seconds have passed, or the guard stops the training.

    Args:
        seed_workspace: Workspace with the reference, the prompts, the samples and V* of a seed.
        directory: Workspace of the training; deleted first if it exists.
        overrides: `key=value` overrides of the seed's params.yaml.
        steps: Largest number of steps.
        checkpoint_every: Number of steps from one checkpoint to the next.
        keep: Number of last checkpoints that are kept.
        seconds: Training time after which the process is ended, including stage 1's for algorithms that need
            it; None for no limit.
        threads: Number of threads of the process.

    Raises:
        ProcessFailed: The training ended for another reason.
    """
    limits = [
        "train.epochs=null",
        f"train.steps={steps}",
        f"train.checkpoint.every={checkpoint_every}",
        f"train.checkpoint.keep={keep}",
    ]
    workspace = make_training_workspace(seed_workspace, directory, [*overrides, *limits], threads)
    # Other algorithms train on prompts that stage 1 selected, too; its time is not added to theirs.
    before = stage1_seconds(workspace) if uses_v_star(overrides) else 0.0
    limit = None if seconds is None else seconds - before
    metrics = workspace.work("train") / "metrics.jsonl"
    ended = _wait(start_stage(workspace, "train", threads), metrics, limit)
    trial = Trial(workspace, before, read_metrics(metrics), ended.peak_rss_mib, None)
    if ended.out_of_time or (ended.code == 0 and len(trial.rows) == steps):
        return trial
    output = stage_output(workspace, "train")
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    collapses = [line for line in errors if any(words in line for words in _COLLAPSED)]
    if ended.code != INPUT_ERROR or not collapses:
        raise ProcessFailed(f"{directory}: exit status {ended.code}: {output[-2000:]}")
    return trial._replace(collapsed=collapses[-1].removeprefix("error: "))


class _Ended(NamedTuple):
    code: int  # exit status; the negative signal number for a process that a signal ended
    out_of_time: bool  # ended by us after its seconds
    peak_rss_mib: float


def _wait(process: subprocess.Popen[bytes], metrics: Path, seconds: float | None) -> _Ended:
    """Wait for the end of a training; send SIGTERM once it has trained for `seconds`."""
    signalled = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)  # its status can be read only once
            out_of_time = signalled and process.returncode == -signal.SIGTERM
            return _Ended(process.returncode, out_of_time, usage.ru_maxrss / 1024)
        if not signalled and seconds is not None and training_seconds(read_metrics(metrics)) >= seconds:
            os.kill(process.pid, signal.SIGTERM)  # not `process.terminate()`, which would read its status
            signalled = True
        time.sleep(_POLL_SECONDS)
