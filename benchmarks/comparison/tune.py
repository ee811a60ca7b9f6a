"""Settings for every algorithm, found by the same budget of trials, on a seed that is not compared on."""

from __future__ import annotations

import shutil
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from apo_core.files import read_json, write_json
from benchmarks.apart import ProcessFailed
from benchmarks.comparison.accuracy import accuracies
from benchmarks.comparison.arena import stage1_seconds
from benchmarks.comparison.space import OTHERS, RATES, START, learns_from_values
from benchmarks.comparison.trial import run_trial
from tasks.workspace import Workspace

_MANY_STEPS = 100_000  # more than there is time for
# `algorithm`, `settings`, `steps`, `sampled` and `kl` of the last checkpoint, `collapsed`
Tried = dict[str, Any]


def tune(
    arena: Workspace, directory: Path, names: list[str], pool: Executor, *, seconds: float, threads: int
) -> list[Tried]:
    """All trials of all algorithms.

    Args:
        arena: of the seed to tune on.
        directory: of the trainings.
        names: of the algorithms.
        pool: runs as many trials at once as it has workers.
        seconds: of training that a trial has; of A*-PO's its stage 1 is a part.
        threads: that a trial computes with.
    """

    def tried(name: str, settings: list[str]) -> Tried:
        place = directory / name / "-".join(settings).replace("/", "-")
        return _try(arena, place, name, settings, seconds=seconds, threads=threads)

    rated = [(name, [*START[name], f"train.learning_rate={rate}"]) for name in names for rate in RATES]
    trials = list(pool.map(tried, *zip(*rated, strict=True)))
    others = [(name, [*best(trials, name), *more]) for name in names for more in OTHERS[name]]
    return trials + list(pool.map(tried, *zip(*others, strict=True)))


def best(trials: list[Tried], name: str) -> list[str]:
    """The settings of an algorithm's best trial; one that collapsed is worse than any that did not."""
    own = [trial for trial in trials if trial["algorithm"] == name]
    chosen = max(own, key=lambda trial: (trial["collapsed"] is None, trial["sampled"]))
    settings: list[str] = chosen["settings"]
    return settings


def _try(
    arena: Workspace, directory: Path, name: str, settings: list[str], *, seconds: float, threads: int
) -> Tried:
    """One trial; its result stays in a file, and is not made again while that is there."""
    kept = directory.with_name(f"{directory.name}.json")
    if kept.exists():
        tried: Tried = read_json(kept)
        return tried
    trial = run_trial(
        arena,
        directory,
        settings,
        steps=_MANY_STEPS,
        checkpoint_every=1,
        keep=1,
        seconds=seconds - (stage1_seconds(arena) if learns_from_values(name) else 0.0),
        threads=threads,
    )
    found = accuracies(trial.place, "--last", threads=threads)
    if not found and trial.collapsed is None:
        raise ProcessFailed(f"{directory}: not one step in {seconds:g} s: give trials more time")
    tried = {
        "algorithm": name,
        "settings": settings,
        "steps": len(trial.rows),
        "sampled": found[-1]["sampled"] if found else 0.0,
        "kl": found[-1]["kl"] if found else None,
        "collapsed": trial.collapsed,
    }
    write_json(kept, tried)
    shutil.rmtree(directory)
    print(f"tuning: {name} {' '.join(settings)}: {tried['sampled']:.3f}", flush=True)
    return tried


def at_edge(trials: list[Tried], name: str) -> bool:
    """Whether the best learning rate is the lowest or the highest that was tried: others may be better."""
    rates = [setting for setting in best(trials, name) if setting.startswith("train.learning_rate=")]
    return rates[-1].partition("=")[2] in (str(RATES[0]), str(RATES[-1]))
