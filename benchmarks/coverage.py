"""How often the evaluation's 95% intervals cover the true value, before and after they allow for few prompts.

    python -m benchmarks.coverage [--evaluations 1000] [--only mean|gain]

Simulates evaluations of populations whose true means are known. A prompt's success rate is logistic-normal
with a given mean and standard deviation of its log-odds, policy and reference are correlated over the
prompts, and a sample is a coin flip with the prompt's success rate. A standard deviation of 0 makes all
prompts alike, one of 4 makes most prompts solved always or never. A row of the table is all populations of a
number of prompts: the lowest and the highest coverage among them, and their mean. Takes six minutes on one
core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from apo_core.evaluation.intervals import (
    bootstrap_interval,
    effective_prompts,
    mean_interval,
    paired_interval,
    wilson_interval,
)

PROMPTS = (3, 5, 10, 20, 50, 150, 500)
RESAMPLES = 2000  # fewer than in an evaluation, to save time
Floats = NDArray[np.float64]
Interval = tuple[float, float]
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


class Population(NamedTuple):
    """A population of prompts, and two models' success rates on them."""

    prompts: int
    samples: int  # per prompt
    reference: float  # mean reward of the reference policy
    policy: float  # mean reward of the trained policy
    deviation: float  # standard deviation of the log-odds over prompts
    correlation: float  # correlation of the two models' log-odds


def populations_of_mean(prompts: int) -> list[Population]:
    """Means from 0.02 to 0.98; with one sample per prompt how rates vary over prompts makes no difference."""
    return [
        Population(prompts, samples, mean, mean, deviation, 0.0)
        for samples, mean, deviation in product((1, 4, 16, 64), (0.02, 0.1, 0.5, 0.98), (0.0, 1.5, 4.0))
        if samples > 1 or deviation == 0
    ]


def populations_of_gain(prompts: int) -> list[Population]:
    """Pairs of policies: equal ones, a small and a large gain, and two that solve nearly everything."""
    return [
        Population(prompts, samples, *means, deviation, correlation)
        for samples in (1, 4, 16)
        for means, deviation, correlation in (
            ((0.5, 0.5), 2.0, 0.9),
            ((0.02, 0.02), 4.0, 0.9),
            ((0.05, 0.15), 2.0, 0.5),
            ((0.43, 0.70), 2.0, 0.7),
            ((0.97, 0.98), 4.0, 0.99),
        )
    ]


def main() -> None:
    """Print two tables: intervals of one model's mean reward, and of the gain of one model over another."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=1000, help="simulated for each population")
    parser.add_argument("--only", choices=("mean", "gain"), help="one of the tables")
    arguments = parser.parse_args()
    noise = 1.96 * np.sqrt(0.95 * 0.05 / arguments.evaluations)
    print(f"{arguments.evaluations} evaluations per population: chance alone moves 95% by {noise:.1%}\n")
    for title, populations, intervals in (
        ("mean", populations_of_mean, intervals_of_mean),
        ("gain", populations_of_gain, intervals_of_gain),
    ):
        if arguments.only in (None, title):
            for line in table(title, populations, intervals, arguments.evaluations):
                print(line, flush=True)


def table(
    title: str,
    populations: Callable[[int], list[Population]],
    intervals: Callable[[Population, np.random.Generator], dict[str, Interval]],
    evaluations: int,
) -> Iterator[str]:
    """Yield the lines of a table: for each number of prompts, the coverage over all its populations."""
    yield f"| prompts, {title} | before: lowest | mean | highest | now: lowest | mean | highest | lowest of |"
    yield "|---|---|---|---|---|---|---|---|"
    for prompts in PROMPTS:
        rows = [
            coverage(population, intervals, evaluations=evaluations, seed=number)
            for number, population in enumerate(populations(prompts))
        ]
        before, now = (np.array([row[name] for row in rows]) for name in ("before", "now"))
        cells = [f"{share:.3f}" for shares in (before, now) for share in _range(shares)]
        yield f"| {' | '.join([str(prompts), *cells, _named(populations(prompts)[int(now.argmin())])])} |"
    yield ""


def _range(shares: Floats) -> tuple[float, float, float]:
    return float(shares.min()), float(shares.mean()), float(shares.max())


def _named(population: Population) -> str:
    means = f"{population.reference:g}"
    if population.policy != population.reference:
        means += f" to {population.policy:g}"
    return f"{means}, {population.samples} samples, deviation {population.deviation:g}"


def coverage(
    population: Population,
    intervals: Callable[[Population, np.random.Generator], dict[str, Interval]],
    *,
    evaluations: int,
    seed: int,
) -> dict[str, float]:
    """Share of simulated evaluations whose intervals cover the truth, by method."""
    rng = np.random.default_rng(seed)
    truth = population.reference
    if intervals is intervals_of_gain:
        truth = population.policy - population.reference
    covered: dict[str, int] = {}
    for _ in range(evaluations):
        for name, (low, high) in intervals(population, rng).items():
            covered[name] = covered.get(name, 0) + (low - 1e-9 <= truth <= high + 1e-9)
    return {name: count / evaluations for name, count in covered.items()}


def intervals_of_mean(population: Population, rng: np.random.Generator) -> dict[str, Interval]:
    """Intervals of the reference policy's mean reward in a simulated evaluation."""
    means, _ = simulate(population, rng)
    effective = effective_prompts(means, population.samples)
    return {
        "before": wilson_interval(float(means.mean()), effective),
        "now": mean_interval(means, population.samples),
    }


def intervals_of_gain(population: Population, rng: np.random.Generator) -> dict[str, Interval]:
    """Intervals of the gain in a simulated evaluation."""
    reference, policy = simulate(population, rng)
    seed = int(rng.integers(2**32))
    return {
        "before": bootstrap_interval(
            policy - reference, np.random.default_rng(seed), alpha=0.05, resamples=RESAMPLES
        ),
        "now": paired_interval(pd.Series(reference), pd.Series(policy), seed=seed, resamples=RESAMPLES),
    }


def simulate(population: Population, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(P,) and (P,) mean rewards of the two models on the same prompts."""
    common = rng.standard_normal(population.prompts)
    own = rng.standard_normal(population.prompts)
    mixed = population.correlation * common + np.sqrt(1 - population.correlation**2) * own
    both = []
    for mean, z in ((population.reference, common), (population.policy, mixed)):
        success_rates = expit(_mean_log_odds(mean, population.deviation) + population.deviation * z)
        both.append(rng.binomial(population.samples, success_rates) / population.samples)
    return both[0], both[1]


@cache
def _mean_log_odds(mean: float, deviation: float) -> float:
    """Mean log-odds at which the mean success rate is `mean`: by bisection of a Gauss-Hermite sum."""
    low, high = -80.0, 80.0
    for _ in range(60):
        middle = (low + high) / 2
        below = (expit(middle + deviation * _NODES) * _WEIGHTS).sum() / _WEIGHTS.sum() < mean
        low, high = (middle, high) if below else (low, middle)
    return low


if __name__ == "__main__":
    main()
