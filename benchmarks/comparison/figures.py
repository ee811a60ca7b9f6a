"""What is read off the runs' curves: accuracies at a time, times to an accuracy, means over seeds."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

Run = dict[str, Any]  # see `run.py`


class Mean(NamedTuple):
    """Over seeds, with half of its 95% interval (Student's); NaN where there is one seed."""

    value: float
    half: float


def mean_of(values: list[float]) -> Mean:
    """The mean of one number a seed."""
    count = len(values)
    half = float(stdtrit(count - 1, 0.975)) * stdev(values) / math.sqrt(count) if count > 1 else math.nan
    return Mean(fmean(values), half)


def at_seconds(run: Run, seconds: float, measure: str) -> float:
    """A measure of a run's curve after so many seconds, between two points by a straight line."""
    times = [point["seconds"] for point in run["curve"]]
    return float(np.interp(seconds, times, [point[measure] for point in run["curve"]]))


def seconds_to(run: Run, accuracy: float) -> float:
    """When the curve first has this accuracy of sampled responses; infinity if it never has."""
    before = run["curve"][0]
    for point in run["curve"]:
        if point["sampled"] >= accuracy:
            rise = point["sampled"] - before["sampled"]
            share = (accuracy - before["sampled"]) / rise if rise > 0 else 1.0
            return float(before["seconds"] + share * (point["seconds"] - before["seconds"]))
        before = point
    return math.inf


def time_ratio(run: Run, other: Run) -> float:
    """Seconds of one run in those of another to the highest accuracy that both have."""
    best = [max(point["sampled"] for point in one["curve"]) for one in (run, other)]
    return seconds_to(run, min(best)) / seconds_to(other, min(best))


def by_seed(runs: list[Run], name: str) -> list[Run]:
    """The runs of an algorithm, in the order of their seeds."""
    return sorted((run for run in runs if run["algorithm"] == name), key=lambda run: int(run["seed"]))
