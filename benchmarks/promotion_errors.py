"""How often the promotion rule errs where prompts are few, before and after it allowed for that.

    python -m benchmarks.promotion_errors [--evaluations 2000]

Before: percentiles of the bootstrap decide, for all prompts and for every set at 95%. Two tables. False
vetoes: a policy that is better on every prompt is rejected, because a small set looks worse. False
promotions: of two equal policies one is promoted where they differ on few prompts, computed exactly from the
binomial distribution of how many of those go up. Takes two minutes on one core.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from apo_core.decisions.policy_comparison import vetoing_sets
from apo_core.evaluation.intervals import ALPHA, bootstrap_interval, paired_interval, resamples_for
from benchmarks.coverage import Population, simulate

SET_SIZES = (2, 3, 5, 10, 30)
DIFFERING = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 29, 30, 40)
PROMPTS = 512
COMPARISONS = 2  # with the reference policy and with the champion
SETS = 5
RESAMPLES = 2000  # fewer than in an evaluation, to save time
Floats = NDArray[np.float64]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=2000, help="simulated for each size of sets")
    evaluations = parser.parse_args().evaluations
    print(f"| prompts per set | 1 small set: before | now | {SETS} small sets: before | now |")
    print("|---|---|---|---|---|")
    for size in SET_SIZES:
        cells = [f"{share:.2%}" for sets in (1, SETS) for share in false_vetoes(size, sets, evaluations)]
        print(f"| {size} | {' | '.join(cells)} |", flush=True)
    print(f"\n| of {PROMPTS} prompts differ | before | now |\n|---|---|---|")
    for differing in DIFFERING:
        shares = false_promotions(differing)
        print(f"| {differing} | {shares[0]:.2%} | {shares[1]:.2%} |", flush=True)


def false_vetoes(size: int, sets: int, evaluations: int) -> tuple[float, float]:
    """Share of evaluations in which a small set looks worse, though the policy gains 0.03 everywhere.

    The policy is compared with two others that solve half; a large set, which takes its share of the level,
    stands beside the small ones. Pairs of evaluations of the same sets share nothing, so the shares are a
    little higher than with common responses of the policy.

    Returns:
        Before and now.
    """
    rng = np.random.default_rng(size)
    population = Population(size, 4, 0.50, 0.53, 2.0, 0.9)
    names = [str(number) for number in range(sets)]
    sizes = pd.Series([size] * sets + [PROMPTS], index=[*names, "large"])
    vetoing = vetoing_sets(sizes, comparisons=COMPARISONS, alpha=ALPHA)
    alpha = ALPHA / (len(vetoing) * COMPARISONS)
    vetoes = np.zeros(2)
    for _ in range(evaluations):
        pairs = [simulate(population, rng) for _ in range(sets * COMPARISONS)]
        vetoes[0] += any(_bootstrap(policy - reference)[1] < 0 for reference, policy in pairs)
        interval = partial(paired_interval, seed=0, alpha=alpha, resamples=RESAMPLES)
        vetoes[1] += names[0] in vetoing and any(
            interval(pd.Series(reference), pd.Series(policy))[1] < 0 for reference, policy in pairs
        )
    before, now = vetoes / evaluations
    return float(before), float(now)


def false_promotions(differing: int) -> tuple[float, float]:
    """Chance that of two equal policies the second is promoted, if they differ on so many prompts.

    Returns:
        Before and now.
    """
    promoted = np.zeros(2)
    for up in range(differing // 2, differing + 1):
        gains = np.zeros(PROMPTS)
        gains[:up], gains[up:differing] = 1.0, -1.0
        lows = (
            _bootstrap(gains, resamples_for(ALPHA))[0],
            paired_interval(pd.Series(np.zeros(PROMPTS)), pd.Series(gains), seed=0)[0],
        )
        promoted += binom.pmf(up, differing, 0.5) * (np.array(lows) > 0)
    return float(promoted[0]), float(promoted[1])


def _bootstrap(gains: Floats, resamples: int = RESAMPLES) -> tuple[float, float]:
    return bootstrap_interval(gains, np.random.default_rng(0), alpha=ALPHA, resamples=resamples)


if __name__ == "__main__":
    main()
