"""Reads learning curves: a measure at a given time, the time to an accuracy, means over seeds."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

# One training: `algorithm`, `seed`, `settings` (its overrides), `collapsed`, counts, and a `curve` of points;
# `run.py` makes it.
Run = dict[str, Any]
# The accuracy to reach, as a share of the gain over the reference of the run that gains less: a plateau has
# no clear beginning.
_SHARE_OF_GAIN = 0.9


class Mean(NamedTuple):
    """A mean over seeds with its 95% interval (Student's t); NaN where the mean or interval is unknown."""

    value: float
    low: float
    high: float


def mean_with_interval(values: list[float]) -> Mean:
    """Mean of one number per seed, with its interval."""
    if not values:
        return Mean(math.nan, math.nan, math.nan)
    mean, count = fmean(values), len(values)
    half = float(stdtrit(count - 1, 0.975)) * stdev(values) / math.sqrt(count) if count > 1 else math.nan
    return Mean(mean, mean - half, mean + half)


def geometric_mean(ratios: list[float]) -> Mean:
    """Geometric mean of one ratio per seed: the mean of 2 and 1/2 is 1."""
    return Mean(*(math.exp(number) for number in mean_with_interval([math.log(ratio) for ratio in ratios])))


def value_at(run: Run, axis: str, position: float, measure: str) -> float:
    """Interpolate a measure of a run's curve linearly at a position (seconds or prompts, the `axis`).

    NaN after the curve's end, where the training might have gone on.
    """
    positions = [point[axis] for point in run["curve"]]
    if position > positions[-1]:
        return math.nan
    return float(np.interp(position, positions, [point[measure] for point in run["curve"]]))


def earliest_end(runs: list[Run], axis: str) -> float:
    """Where the shortest of the runs ends, in seconds or prompts."""
    return min(float(run["curve"][-1][axis]) for run in runs)


def seconds_to_accuracy(run: Run, accuracy: float) -> float:
    """Seconds until sampled responses first reach an accuracy; NaN if they never do."""
    previous = run["curve"][0]
    for point in run["curve"]:
        if point["sampled"] >= accuracy:
            rise = point["sampled"] - previous["sampled"]
            share = (accuracy - previous["sampled"]) / rise if rise > 0 else 1.0
            return float(previous["seconds"] + share * (point["seconds"] - previous["seconds"]))
        previous = point
    return math.nan


def time_ratio(run: Run, other: Run) -> float:
    """Ratio of two runs' seconds to an accuracy that both reach; see `_SHARE_OF_GAIN`.

    NaN where one of the two was never better than the reference.
    """
    start = run["curve"][0]["sampled"]
    best = min(max(point["sampled"] for point in either["curve"]) for either in (run, other))
    if best <= start:
        return math.nan
    target = start + _SHARE_OF_GAIN * (best - start)
    return seconds_to_accuracy(run, target) / seconds_to_accuracy(other, target)


def runs_of_algorithm(runs: list[Run], name: str) -> list[Run]:
    """Runs of one algorithm, in the order of their seeds."""
    return sorted((run for run in runs if run["algorithm"] == name), key=lambda run: int(run["seed"]))


def not_collapsed(runs: list[Run]) -> list[Run]:
    """Runs that did not collapse."""
    return [run for run in runs if run["collapsed"] is None]


def runs_of_seed(runs: list[Run], seed: int) -> list[Run]:
    """Runs of one seed."""
    return [run for run in runs if run["seed"] == seed]


def pairs_by_seed(runs: list[Run], name: str, other: str) -> list[tuple[Run, Run]]:
    """Pairs of runs of two algorithms on the same seed, neither of which collapsed."""
    others = {run["seed"]: run for run in not_collapsed(runs_of_algorithm(runs, other))}
    own = not_collapsed(runs_of_algorithm(runs, name))
    return [(run, others[run["seed"]]) for run in own if run["seed"] in others]
