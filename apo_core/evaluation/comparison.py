"""A policy beside its reference on the held-out prompts: all of them, by set, by group, by difficulty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from apo_core.errors import ApoError
from apo_core.evaluation.intervals import effective_prompts, paired, paired_bootstrap, wilson_interval
from apo_core.evaluation.pass_at_k import majority_at_k, pass_at_k

DIFFICULTIES = ("unsolved", "partly solved", "solved")  # by the reference
_MODELS = ("reference", "policy")


def per_prompt(rows: pd.DataFrame, policy: str) -> pd.Series[float]:
    """Mean reward of a policy's samples on each prompt, by prompt_id, greedy rows left out.

    A row whose verification failed has no reward: it is no wrong answer, and counts nowhere. A prompt with
    no other rows is missing here.
    """
    chosen = rows[(rows["policy"] == policy) & (rows["sample_index"] >= 0)]
    return chosen.dropna(subset="reward").groupby("prompt_id")["reward"].mean().sort_index()


def summarise(rows: pd.DataFrame, prompts: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """The evaluation of `policy` beside `reference`.

    Args:
        rows: table `tables.EVALUATIONS`; `sample_index` -1 marks a greedy response.
        prompts: table `tables.PROMPTS`, which says what set and group a prompt is of.
        seed: of the bootstraps.

    Returns:
        The `eval` block of the summary: `compare` over all prompts, with `kl` and the same for
        every one of `sets`, `groups` (where there are several) and `difficulty`.
    """
    ratios = rows.loc[(rows["policy"] == "policy") & (rows["sample_index"] >= 0), "log_ratio"]
    return compare(rows, seed=seed) | {
        "kl": float(ratios.mean()),
        "sets": _parts(rows, prompts.set_index("prompt_id")["set"], seed),
        "groups": _parts(rows, prompts.set_index("prompt_id")["group"].dropna(), seed),
        "difficulty": by_difficulty(rows, seed=seed),
    }


def compare(rows: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Both models on the prompts of these rows, and the gain of one over the other.

    Raises:
        ValueError: they were asked different prompts.
        ApoError: there is no prompt on which both have a reward.
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
        "reference": _of_one(rows[rows["policy"] == "reference"], reference),
        "policy": _of_one(rows[rows["policy"] == "policy"], policy),
        "gain": float((policy - reference).mean()),
        "gain_ci95": list(paired_bootstrap(reference, policy, seed=seed)),
    }


def by_difficulty(rows: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """`compare` on prompts that the reference solves never, sometimes and always.

    Samples that say how hard a prompt is must not say what is gained on it: where the reference had bad luck
    any policy would seem to gain, and where it had good luck, to lose (regression to the mean). So the first
    half of the reference's samples sorts the prompts and the other half is compared. Of the policy too: the
    i-th samples of both are drawn with the same random numbers, and share the luck.

    Returns:
        A block for each of `DIFFICULTIES` that there are prompts of; none where a prompt has one sample,
        which cannot do both.
    """
    half = (int(rows["sample_index"].max()) + 1) // 2
    if half == 0:
        return {}
    sorting = per_prompt(rows[rows["sample_index"] < half], "reference")
    names = sorting.map(lambda mean: DIFFICULTIES[0 if mean <= 0 else 2 if mean >= 1 else 1])
    measured = rows[(rows["sample_index"] >= half) | (rows["sample_index"] < 0)]
    blocks = {name: _part(measured, names.index[names == name], seed) for name in DIFFICULTIES}
    return {name: block for name, block in blocks.items() if block}


def _parts(rows: pd.DataFrame, part_of: pd.Series[str], seed: int) -> dict[str, Any]:
    """`compare` for every part that prompts are of; nothing where all are of one."""
    part_of = part_of[part_of.index.isin(rows["prompt_id"])]
    names = sorted(part_of.unique())
    if len(names) < 2:
        return {}
    blocks = {name: _part(rows, part_of.index[part_of == name], seed) for name in names}
    return {name: block for name, block in blocks.items() if block}


def _part(rows: pd.DataFrame, prompt_ids: pd.Index[str], seed: int) -> dict[str, Any]:
    """Empty where no prompt of the part has a reward of both models."""
    own = rows[rows["prompt_id"].isin(prompt_ids)]
    reference, _ = paired(*(per_prompt(own, name) for name in _MODELS))
    return {} if reference.empty else compare(own, seed=seed)


def _of_one(rows: pd.DataFrame, means: pd.Series[float]) -> dict[str, Any]:
    """One model: `means` on the prompts that count, and shares of all of its samples."""
    greedy, sampled = rows[rows["sample_index"] < 0], rows[rows["sample_index"] >= 0]
    scored = sampled[sampled["prompt_id"].isin(means.index)].dropna(subset="reward")
    per_sample = len(scored) / len(means)
    mean = float(means.mean())
    samples = int(sampled["sample_index"].nunique())
    failed = sampled["reward"].isna()
    return {
        "pass@1": mean,
        f"avg@{samples}": mean,
        "ci95": list(
            wilson_interval(mean, effective_prompts(np.asarray(means, dtype=np.float64), per_sample))
        ),
        **_at_k(scored, samples),
        "greedy": None if greedy["reward"].isna().all() else float(greedy["reward"].mean()),
        "truncated": float((sampled["finish_reason"] == "length").mean()),
        "unparsed": float((sampled["extracted"].isna() & ~failed).mean()),
        "errors": float(failed.mean()),
    }


def _at_k(scored: pd.DataFrame, samples: int) -> dict[str, float | None]:
    """pass@2, pass@4 and so on, over the prompts with so many samples scored, and maj@k of all samples."""
    rewards = scored.groupby("prompt_id")["reward"].apply(list)
    answers = scored.groupby("prompt_id")["extracted"].apply(
        lambda extracted: [None if pd.isna(answer) else answer for answer in extracted]
    )
    scores: dict[str, float | None] = {}
    for k in _powers_of_two(samples):
        estimates = [pass_at_k(own, k) for own in rewards if len(own) >= k]
        scores[f"pass@{k}"] = sum(estimates) / len(estimates) if estimates else None
    votes = [majority_at_k(*both) for both in zip(rewards, answers, strict=True)]
    return scores | {f"maj@{samples}": sum(votes) / len(votes)}


def _powers_of_two(samples: int) -> list[int]:
    """2, 4, 8 and so on, and the number of samples itself."""
    powers = [2**exponent for exponent in range(1, samples.bit_length()) if 2**exponent <= samples]
    return powers if samples == 1 or samples in powers else [*powers, samples]
