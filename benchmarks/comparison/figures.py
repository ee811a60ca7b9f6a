"""What is read off the runs' curves: measures at a time, times to an accuracy, means over seeds."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

# Of a training: `algorithm`, `seed`, `settings`, `collapsed`, counts, and a `curve` of points; see `run.py`.
Run = dict[str, Any]
_SHARE = 0.9  # of the way from the reference to the lower of two runs' best: a plateau has no clear end


class Mean(NamedTuple):
    """Over seeds, with its 95% interval (Student's); NaN where it is not known."""

    value: float
    low: float
    high: float


def mean_of(values: list[float]) -> Mean:
    """The mean of one number a seed."""
    if not values:
        return Mean(math.nan, math.nan, math.nan)
    mean, count = fmean(values), len(values)
    half = float(stdtrit(count - 1, 0.975)) * stdev(values) / math.sqrt(count) if count > 1 else math.nan
    return Mean(mean, mean - half, mean + half)


def mean_ratio(ratios: list[float]) -> Mean:
    """The geometric mean of one ratio a seed: twice and half come to one."""
    return Mean(*(math.exp(number) for number in mean_of([math.log(ratio) for ratio in ratios])))


def at(run: Run, axis: str, where: float, measure: str) -> float:
    """A measure of a run's curve after so many seconds or prompts, between two points by a straight line.

    NaN after its end: it might have gone on.
    """
    places = [point[axis] for point in run["curve"]]
    if where > places[-1]:
        return math.nan
    return float(np.interp(where, places, [point[measure] for point in run["curve"]]))


def common_end(runs: list[Run], axis: str) -> float:
    """How far the first of some runs to end has come, in seconds or prompts."""
    return min(float(run["curve"][-1][axis]) for run in runs)


def seconds_to(run: Run, accuracy: float) -> float:
    """When the curve first has this accuracy of sampled responses; NaN if it never has."""
    before = run["curve"][0]
    for point in run["curve"]:
        if point["sampled"] >= accuracy:
            rise = point["sampled"] - before["sampled"]
            share = (accuracy - before["sampled"]) / rise if rise > 0 else 1.0
            return float(before["seconds"] + share * (point["seconds"] - before["seconds"]))
        before = point
    return math.nan


def time_ratio(run: Run, other: Run) -> float:
    """Seconds of one run in those of another to an accuracy that both have: see `_SHARE`.

    NaN where one of the two never was above the reference.
    """
    start = run["curve"][0]["sampled"]
    best = min(max(point["sampled"] for point in one["curve"]) for one in (run, other))
    if best <= start:
        return math.nan
    target = start + _SHARE * (best - start)
    return seconds_to(run, target) / seconds_to(other, target)


def of_algorithm(runs: list[Run], name: str) -> list[Run]:
    """Its runs, in the order of their seeds."""
    return sorted((run for run in runs if run["algorithm"] == name), key=lambda run: int(run["seed"]))


def finished(runs: list[Run]) -> list[Run]:
    """Those that did not collapse."""
    return [run for run in runs if run["collapsed"] is None]


def of_seed(runs: list[Run], seed: int) -> list[Run]:
    """Those of one seed."""
    return [run for run in runs if run["seed"] == seed]


def pairs(runs: list[Run], name: str, other: str) -> list[tuple[Run, Run]]:
    """Finished runs of two algorithms on the same seed."""
    seconds = {run["seed"]: run for run in finished(of_algorithm(runs, other))}
    firsts = finished(of_algorithm(runs, name))
    return [(run, seconds[run["seed"]]) for run in firsts if run["seed"] in seconds]
