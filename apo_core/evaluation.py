"""Accuracy with intervals: of one policy, and of the difference between two on the same prompts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

_Z95 = 1.959963984540054


def wilson_interval(accuracy: float, prompts: int) -> tuple[float, float]:
    """Wilson's 95% score interval for a mean of per-prompt accuracies in [0, 1].

    With several samples a prompt the per-prompt accuracy varies less than a coin with the same mean, so the
    interval, which counts prompts and not samples, is then wider than it need be, never narrower.

    Source: E. B. Wilson, JASA 22 (1927).
    """
    z2 = _Z95**2 / prompts
    centre = (accuracy + z2 / 2) / (1 + z2)
    half = _Z95 / (1 + z2) * math.sqrt(accuracy * (1 - accuracy) / prompts + z2 / (4 * prompts))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_bootstrap(
    first: pd.Series[float], second: pd.Series[float], *, seed: int, resamples: int = 10_000
) -> tuple[float, float]:
    """95% percentile interval of mean(second - first), prompts resampled in pairs.

    Args:
        first: (P,) accuracy of each prompt, by prompt_id.
        second: (P,) likewise of the same prompts in the same order.
        seed: of the resampling.
        resamples: bootstrap draws, a multiple of 100.

    Raises:
        ValueError: the prompts differ, or there are none.
    """
    # On a prompt of which one has only samples that the verifier failed on, the two cannot be compared.
    gains = (second - first).dropna().to_numpy(dtype=np.float64)
    if not first.index.equals(second.index) or not gains.size:
        raise ValueError("the two were not evaluated on the same prompts")
    rng = np.random.default_rng(seed)
    # Chunks keep memory flat: 100 x 1M prompts would be 800 MB at once.
    means = np.concatenate(
        [
            gains[rng.integers(gains.size, size=(100, gains.size))].mean(axis=1)
            for _ in range(resamples // 100)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def per_prompt(rows: pd.DataFrame, policy: str) -> pd.Series[float]:
    """Mean reward of a policy's samples on each prompt, by prompt_id, greedy rows left out.

    NaN where the verifier failed on all of them.
    """
    chosen = rows[(rows["policy"] == policy) & (rows["sample_index"] >= 0)]
    return chosen.groupby("prompt_id")["reward"].mean().sort_index()


def summarise(rows: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """The evaluation of `policy` beside `reference`.

    Args:
        rows: table `tables.EVALUATIONS`; `sample_index` -1 marks a greedy response.
        seed: of the bootstrap.

    Returns:
        The `eval` block of the summary, with more detail of each model.
    """
    reference, policy = per_prompt(rows, "reference"), per_prompt(rows, "policy")
    ratios = rows.loc[(rows["policy"] == "policy") & (rows["sample_index"] >= 0), "log_ratio"]
    return {
        "prompts": int((policy - reference).count()),
        "samples": int(rows["sample_index"].max()) + 1,
        "reference": _of_one(rows, "reference", reference),
        "policy": _of_one(rows, "policy", policy),
        "gain": float((policy - reference).mean()),
        "gain_ci95": list(paired_bootstrap(reference, policy, seed=seed)),
        "kl": float(ratios.mean()),
    }


def _of_one(rows: pd.DataFrame, policy: str, accuracy: pd.Series[float]) -> dict[str, Any]:
    own = rows[rows["policy"] == policy]
    greedy, sampled = own[own["sample_index"] < 0], own[own["sample_index"] >= 0]
    return {
        "pass@1": float(accuracy.mean()),
        "ci95": list(wilson_interval(float(accuracy.mean()), int(accuracy.count()))),
        "greedy": float(greedy["reward"].mean()),
        "truncated": float((sampled["finish_reason"] == "length").mean()),
        "verifier_errors": int(own["reward"].isna().sum()),
    }
