"""Comparison of a policy with the reference policy on held-out prompts: all, by set, group and difficulty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from apo_core.errors import ApoError
from apo_core.evaluation.intervals import mean_interval, paired, paired_interval
from apo_core.evaluation.pass_at_k import majority_at_k, pass_at_k

DIFFICULTIES = ("unsolved", "partly solved", "solved")  # for the reference policy
_MODELS = ("reference", "policy")


def per_prompt(rows: pd.DataFrame, policy: str) -> pd.Series[float]:
    """Compute the mean reward of a policy's samples per prompt, by prompt_id, without greedy rows."""
    return mean_rewards(sampled_rewards(rows, policy))


def sampled_rewards(rows: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Take prompt_id and reward of a policy's sampled rows; no reward where the verifier failed."""
    return rows.loc[(rows["policy"] == policy) & (rows["sample_index"] >= 0), ["prompt_id", "reward"]]


def mean_rewards(sampled: pd.DataFrame, *, failed: float | None = None) -> pd.Series[float]:
    """Compute the mean reward per prompt, by prompt_id.

    A row whose verification failed has no reward. It is not a wrong answer, so it counts nowhere, and a
    prompt that has only such rows is missing from the means. What it could have been is bounded by counting
    it as wrong and as right.

    Args:
        sampled: prompt_id and reward of sampled rows.
        failed: what a failed row counts as, 0 or 1; None leaves it out.
    """
    counted = sampled.dropna(subset="reward") if failed is None else sampled.fillna({"reward": failed})
    return counted.groupby("prompt_id")["reward"].mean().sort_index()


def summarise(rows: pd.DataFrame, prompts: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Summarise the evaluation of `policy` and `reference`.

    Args:
        rows: table `tables.EVALUATIONS`; a greedy response has `sample_index` -1.
        prompts: table `tables.PROMPTS`, with the set and group of each prompt.
        seed: seed of the bootstraps.

    Returns:
        The `eval` block of the summary: `compare` over all prompts, `kl`, and `compare` over each of the
        `sets`, the `groups` (if there are several) and the levels of `difficulty`.
    """
    ratios = rows.loc[(rows["policy"] == "policy") & (rows["sample_index"] >= 0), "log_ratio"]
    graded = is_graded(rows["reward"])  # once for all: a part may have no reward between 0 and 1 by chance
    return compare(rows, seed=seed, graded=graded) | {
        "kl": float(ratios.mean()),
        "sets": _parts(rows, prompts.set_index("prompt_id")["set"], seed, graded),
        "groups": _parts(rows, prompts.set_index("prompt_id")["group"].dropna(), seed, graded),
        "difficulty": by_difficulty(rows, seed=seed, graded=graded),
    }


def is_graded(rewards: pd.Series[float]) -> bool:
    """Whether rewards are more than right and wrong: their mean is then no share of prompts solved."""
    return bool((~rewards.dropna().isin([0.0, 1.0])).any())


def compare(rows: pd.DataFrame, *, seed: int, graded: bool = False) -> dict[str, Any]:
    """Compare policy and reference policy on the prompts of some rows: scores of each, and the gain.

    Args:
        rows: table `tables.EVALUATIONS`.
        seed: of the bootstrap.
        graded: whether rewards are graded; the mean is called `reward` then, and `pass@1` otherwise.

    Raises:
        ValueError: the two were evaluated on different prompts.
        ApoError: no prompt has a reward of both.
    """
    asked = {name: set(rows.loc[rows["policy"] == name, "prompt_id"]) for name in _MODELS}
    if asked["reference"] != asked["policy"]:
        raise ValueError("the two were not evaluated on the same prompts")
    reference, policy = paired(*(per_prompt(rows, name) for name in _MODELS))
    if policy.empty:
        raise ApoError(
            "evaluation: the verifier failed on all responses to every prompt, of one model or both"
        )
    return {
        "prompts": len(policy),
        "samples": int(rows.loc[rows["sample_index"] >= 0, "sample_index"].nunique()),
        "reference": _of_one(rows[rows["policy"] == "reference"], reference, graded),
        "policy": _of_one(rows[rows["policy"] == "policy"], policy, graded),
        "gain": float((policy - reference).mean()),
        "gain_ci95": list(paired_interval(reference, policy, seed=seed)),
        **_gain_bounds(rows, seed),
    }


def _gain_bounds(rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Bound the gain where the verifier failed on rows; empty if it failed on none.

    The gain is lowest if failed rows are wrong for the policy and right for the reference policy, and highest
    the other way. The interval reaches from the lower end of the one's to the upper end of the other's.
    """
    reference, policy = (sampled_rewards(rows, name) for name in _MODELS)
    if not (reference["reward"].isna().any() or policy["reward"].isna().any()):
        return {}
    gains, ends = [], []
    for failed_policy, end in ((0.0, 0), (1.0, 1)):
        first = mean_rewards(reference, failed=1 - failed_policy)
        second = mean_rewards(policy, failed=failed_policy)
        gains.append(float((second - first).mean()))
        ends.append(paired_interval(first, second, seed=seed)[end])
    return {"gain_bounds": gains, "gain_bounds_ci95": ends}


def by_difficulty(rows: pd.DataFrame, *, seed: int, graded: bool = False) -> dict[str, Any]:
    """Run `compare` on the prompts that the reference policy solves never, sometimes and always.

    Samples that sort prompts by difficulty must not measure the gain as well: where the reference policy had
    bad luck, any policy would seem to gain, and where it had good luck, to lose (regression to the mean). So
    the first half of the reference policy's samples sorts the prompts, and only second halves are compared.
    The policy's first half is left out too, since the i-th samples of both use the same random numbers and so
    share the luck.

    Returns:
        A block for each of `DIFFICULTIES` that has prompts; no blocks with one sample per prompt, which
        cannot both sort and measure.
    """
    half = (int(rows["sample_index"].max()) + 1) // 2
    if half == 0:
        return {}
    sorting = per_prompt(rows[rows["sample_index"] < half], "reference")
    names = sorting.map(lambda mean: DIFFICULTIES[0 if mean <= 0 else 2 if mean >= 1 else 1])
    measured = rows[(rows["sample_index"] >= half) | (rows["sample_index"] < 0)]
    blocks = {name: _part(measured, names.index[names == name], seed, graded) for name in DIFFICULTIES}
    return {name: block for name, block in blocks.items() if block}


def _parts(rows: pd.DataFrame, part_of: pd.Series[str], seed: int, graded: bool) -> dict[str, Any]:
    """Run `compare` on every part of the prompts; empty if there is only one part."""
    part_of = part_of[part_of.index.isin(rows["prompt_id"])]
    names = sorted(part_of.unique())
    if len(names) < 2:
        return {}
    blocks = {name: _part(rows, part_of.index[part_of == name], seed, graded) for name in names}
    return {name: block for name, block in blocks.items() if block}


def _part(rows: pd.DataFrame, prompt_ids: pd.Index[str], seed: int, graded: bool) -> dict[str, Any]:
    """Run `compare` on one part of the prompts; empty if none of its prompts has a reward of both models."""
    own = rows[rows["prompt_id"].isin(prompt_ids)]
    reference, _ = paired(*(per_prompt(own, name) for name in _MODELS))
    return {} if reference.empty else compare(own, seed=seed, graded=graded)


def _of_one(rows: pd.DataFrame, means: pd.Series[float], graded: bool) -> dict[str, Any]:
    """Score one model: `means` over the prompts with rewards of both, shares over all its samples."""
    greedy, sampled = rows[rows["sample_index"] < 0], rows[rows["sample_index"] >= 0]
    scored = sampled[sampled["prompt_id"].isin(means.index)].dropna(subset="reward")
    per_sample = len(scored) / len(means)
    mean = float(means.mean())
    samples = int(sampled["sample_index"].nunique())
    failed = sampled["reward"].isna()
    return {
        "reward" if graded else "pass@1": mean,
        f"avg@{samples}": mean,
        "ci95": list(mean_interval(np.asarray(means, dtype=np.float64), per_sample)),
        **_at_k(scored, samples, "best" if graded else "pass"),
        "greedy": None if greedy["reward"].isna().all() else float(greedy["reward"].mean()),
        "truncated": float((sampled["finish_reason"] == "length").mean()),
        "unparsed": float((sampled["extracted"].isna() & ~failed).mean()),
        "errors": float(failed.mean()),
    }


def _at_k(scored: pd.DataFrame, samples: int, kind: str) -> dict[str, float | None]:
    """Compute pass@2, pass@4 and so on, over prompts with k scored samples, and maj@k of all samples.

    Of graded rewards the same figures are the best of k: best@2, best@4 and so on.
    """
    rewards = scored.groupby("prompt_id")["reward"].apply(list)
    answers = scored.groupby("prompt_id")["extracted"].apply(
        lambda extracted: [None if pd.isna(answer) else answer for answer in extracted]
    )
    scores: dict[str, float | None] = {}
    for k in _powers_of_two(samples):
        estimates = [pass_at_k(own, k) for own in rewards if len(own) >= k]
        scores[f"{kind}@{k}"] = sum(estimates) / len(estimates) if estimates else None
    votes = [majority_at_k(*both) for both in zip(rewards, answers, strict=True)]
    return scores | {f"maj@{samples}": sum(votes) / len(votes)}


def _powers_of_two(samples: int) -> list[int]:
    """List 2, 4, 8 and so on, up to and including the number of samples itself."""
    powers = [2**exponent for exponent in range(1, samples.bit_length())]
    return powers if samples in (1, *powers) else [*powers, samples]
