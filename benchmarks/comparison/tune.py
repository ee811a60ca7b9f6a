"""Tunes every algorithm with the same number of trials, on a seed that is not part of the comparison."""

from __future__ import annotations

import math
from concurrent.futures import Executor
from functools import partial
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from apo_core.algorithms import make_algorithm
from apo_core.config.file import load_params
from apo_core.training.metrics import StepMetrics, training_seconds
from benchmarks.comparison.cache import cached_training
from benchmarks.comparison.search_space import CHANGES, RATES, START, effective_overrides
from benchmarks.comparison.trial import MANY, run_trial
from benchmarks.processes import ProcessFailed
from tasks.workspace import Workspace

# `algorithm`, `settings` (its overrides), `steps`, `reward` (mean over its time), `kl` (of the last step, or
# None), `collapsed` (the guard's message or None).
TrialResult = dict[str, Any]


def tune(
    seed_workspace: Workspace,
    directory: Path,
    names: list[str],
    pool: Executor,
    *,
    seconds: float,
    threads: int,
) -> list[TrialResult]:
    """Run all trials of all algorithms: each change on top of the best overrides so far, then the rates.

    Args:
        seed_workspace: Workspace of the seed to tune on.
        directory: Parent directory of the trainings.
        names: Names of the algorithms.
        pool: Executor of the trials.
        seconds: Training time per trial; A*-PO's includes stage 1.
        threads: Number of threads per trial.
    """
    tried = partial(_try, seed_workspace, directory, seconds=seconds, threads=threads)
    trials = list(pool.map(tried, names, [START[name] for name in names]))
    for turn in range(len(CHANGES[names[0]])):
        changed = [[*best(trials, name)["settings"], *CHANGES[name][turn]] for name in names]
        trials += pool.map(tried, names, changed)
    rates = [f"train.learning_rate={rate}" for rate in RATES]
    rated = [(name, [*best(trials, name)["settings"], rate]) for name in names for rate in rates]
    return trials + list(pool.map(tried, *zip(*rated, strict=True)))


def best(trials: list[TrialResult], name: str) -> TrialResult:
    """Best trial of an algorithm; collapsed trials rank below all others, earlier collapses lower."""

    def worth(trial: TrialResult) -> tuple[float, float]:
        return (math.inf if trial["collapsed"] is None else trial["steps"], trial["reward"])

    return max((trial for trial in trials if trial["algorithm"] == name), key=worth)


def _try(
    seed_workspace: Workspace,
    directory: Path,
    name: str,
    overrides: list[str],
    *,
    seconds: float,
    threads: int,
) -> TrialResult:
    """Run one trial; its result is cached in a file beside its directory."""
    trial_directory = directory / f"{name}-{sha256(' '.join(overrides).encode()).hexdigest()[:16]}"

    def train() -> TrialResult:
        trial = run_trial(
            seed_workspace,
            trial_directory,
            overrides,
            steps=MANY,
            checkpoint_every=MANY,
            keep=1,
            seconds=seconds,
            threads=threads,
        )
        if not trial.rows:
            raise ProcessFailed(f"{trial_directory}: no step within {seconds:g} s; raise --seconds")
        algorithm = make_algorithm(**load_params(trial.workspace.params).algorithm.model_dump())
        reward = reward_over_time(trial.rows, algorithm.sync_every or 1)
        print(f"tuning: {name} {' '.join(overrides)}: {reward:.3f}", flush=True)
        return {
            "algorithm": name,
            "settings": overrides,
            "steps": len(trial.rows),
            "reward": reward,
            "kl": trial.rows[-1].get("kl"),
            "collapsed": trial.collapsed,
        }

    return cached_training(trial_directory, train)


def reward_over_time(rows: list[StepMetrics], sync_every: int) -> float:
    """Mean reward of the policy's responses over the training's time.

    The mean over all of the time is less noisy than the reward at its end, and a training whose reward falls
    before it rises ranks below one whose reward only rises. Rewards are those of training prompts; held-out
    prompts decide nothing in tuning.

    Args:
        rows: Metrics of the steps.
        sync_every: Number of steps from one copy of the policy to the next, where a lagging copy samples: the
            reward of a copy's responses is the policy's at the time of copying.
    """
    ends = list(accumulate((training_seconds([row]) for row in rows), initial=0.0))
    copies = [rows[start : start + sync_every] for start in range(0, len(rows), sync_every)]
    times = ends[:-1:sync_every]  # at which each copy was made
    rewards = [fmean(row["reward"] for row in steps) for steps in copies]
    return float(np.trapezoid([*rewards, rewards[-1]], [*times, ends[-1]])) / ends[-1]


def at_edge(trials: list[TrialResult], name: str) -> bool:
    """Whether the best learning rate is the lowest or highest tried, so that one beyond may be better."""
    edges = {f"train.learning_rate={rate}" for rate in (min(RATES), max(RATES))}
    return not edges.isdisjoint(effective_overrides(best(trials, name)["settings"]))
