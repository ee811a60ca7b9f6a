"""Settings for every algorithm, found by the same budget of trials, on a seed that is not compared on."""

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
from benchmarks.apart import ProcessFailed
from benchmarks.comparison.kept import kept_of_training
from benchmarks.comparison.space import CHANGES, RATES, START, in_force
from benchmarks.comparison.trial import MANY, run_trial
from tasks.workspace import Workspace

# `algorithm`, `settings`, `steps`, `reward` over its time, `kl` of the last step or None, `collapsed`
Tried = dict[str, Any]


def tune(
    arena: Workspace, directory: Path, names: list[str], pool: Executor, *, seconds: float, threads: int
) -> list[Tried]:
    """All trials of all algorithms, in turns: each change on what is best by then, the rates at the end.

    Args:
        arena: of the seed to tune on.
        directory: of the trainings.
        names: of the algorithms.
        pool: runs as many trials at once as it has workers.
        seconds: of training that a trial has; of A*-PO's its stage 1 is a part.
        threads: that a trial computes with.
    """
    tried = partial(_try, arena, directory, seconds=seconds, threads=threads)
    trials = list(pool.map(tried, names, [START[name] for name in names]))
    for turn in range(len(CHANGES[names[0]])):
        changed = [[*best(trials, name)["settings"], *CHANGES[name][turn]] for name in names]
        trials += pool.map(tried, names, changed)
    rates = [f"train.learning_rate={rate}" for rate in RATES]
    rated = [(name, [*best(trials, name)["settings"], rate]) for name in names for rate in rates]
    return trials + list(pool.map(tried, *zip(*rated, strict=True)))


def best(trials: list[Tried], name: str) -> Tried:
    """An algorithm's best; one that collapsed is worse than any that did not, the sooner the worse."""

    def worth(trial: Tried) -> tuple[float, float]:
        return (math.inf if trial["collapsed"] is None else trial["steps"], trial["reward"])

    return max((trial for trial in trials if trial["algorithm"] == name), key=worth)


def _try(
    arena: Workspace, directory: Path, name: str, settings: list[str], *, seconds: float, threads: int
) -> Tried:
    """One trial; its result stays in a file, and is not made again while that is there."""
    place = directory / f"{name}-{sha256(' '.join(settings).encode()).hexdigest()[:16]}"

    def make() -> Tried:
        trial = run_trial(
            arena,
            place,
            settings,
            steps=MANY,
            checkpoint_every=MANY,
            keep=1,
            seconds=seconds,
            threads=threads,
        )
        if not trial.rows:
            raise ProcessFailed(f"{place}: not one step in {seconds:g} s: give trials more time")
        algorithm = make_algorithm(**load_params(trial.place.params).algorithm.model_dump())
        reward = reward_over_time(trial.rows, algorithm.sync_every or 1)
        print(f"tuning: {name} {' '.join(settings)}: {reward:.3f}", flush=True)
        return {
            "algorithm": name,
            "settings": settings,
            "steps": len(trial.rows),
            "reward": reward,
            "kl": trial.rows[-1].get("kl"),
            "collapsed": trial.collapsed,
        }

    return kept_of_training(place, make)


def reward_over_time(rows: list[StepMetrics], sync_every: int) -> float:
    """The mean reward of a policy's responses over a training's time.

    A whole course says more than its end, which is good or bad by chance, and what falls before it rises is
    worse than what only rises. It is the reward on training prompts: those held out decide nothing.

    Args:
        rows: of the steps.
        sync_every: steps from one copy of the policy to the next, where a copy draws: what it is rewarded for
            is the policy of the time at which it was made.
    """
    ends = list(accumulate((training_seconds([row]) for row in rows), initial=0.0))
    copies = [rows[start : start + sync_every] for start in range(0, len(rows), sync_every)]
    times = ends[:-1:sync_every]  # at which each was made
    rewards = [fmean(row["reward"] for row in drawn) for drawn in copies]
    return float(np.trapezoid([*rewards, rewards[-1]], [*times, ends[-1]])) / ends[-1]


def at_edge(trials: list[Tried], name: str) -> bool:
    """Whether the best learning rate is the lowest or the highest that was tried: others may be better."""
    edges = {f"train.learning_rate={rate}" for rate in (min(RATES), max(RATES))}
    return not edges.isdisjoint(in_force(best(trials, name)["settings"]))
