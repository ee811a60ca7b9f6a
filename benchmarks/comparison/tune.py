"""Settings for every algorithm, found by the same budget of trials, on a seed that is not compared on."""

from __future__ import annotations

import shutil
from concurrent.futures import Executor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from apo_core.training.metrics import StepMetrics, training_seconds
from benchmarks.apart import ProcessFailed
from benchmarks.comparison.kept import beside, kept
from benchmarks.comparison.space import CHANGES, RATES, START
from benchmarks.comparison.trial import run_trial
from tasks.workspace import Workspace

_MANY = 100_000  # steps: more than there is time for
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
    """An algorithm's best; one that collapsed is worse than any that did not."""
    own = [trial for trial in trials if trial["algorithm"] == name]
    return max(own, key=lambda trial: (trial["collapsed"] is None, trial["reward"]))


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
            steps=_MANY,
            checkpoint_every=_MANY,
            keep=1,
            seconds=seconds,
            threads=threads,
        )
        if not trial.rows:
            raise ProcessFailed(f"{place}: not one step in {seconds:g} s: give trials more time")
        reward = reward_over_time(trial.rows)
        print(f"tuning: {name} {' '.join(settings)}: {reward:.3f}", flush=True)
        return {
            "algorithm": name,
            "settings": settings,
            "steps": len(trial.rows),
            "reward": reward,
            "kl": trial.rows[-1].get("kl"),
            "collapsed": trial.collapsed,
        }

    tried = kept(beside(place), make)
    shutil.rmtree(place, ignore_errors=True)
    return tried


def reward_over_time(rows: list[StepMetrics]) -> float:
    """The mean over a training's time of the reward that its responses had.

    A whole course says more than its end, which is good or bad by chance, and what falls before it rises is
    worse than what only rises. It is the reward on training prompts: those held out decide nothing.
    """
    weights = [training_seconds([row]) for row in rows]
    return sum(row["reward"] * weight for row, weight in zip(rows, weights, strict=True)) / sum(weights)


def rate_of(settings: list[str]) -> float:
    """The learning rate: the last setting of it counts."""
    (*_, last) = (setting for setting in settings if setting.startswith("train.learning_rate="))
    return float(last.partition("=")[2])


def at_edge(trials: list[Tried], name: str) -> bool:
    """Whether the best learning rate is the lowest or the highest that was tried: others may be better."""
    return rate_of(best(trials, name)["settings"]) in (min(RATES), max(RATES))
