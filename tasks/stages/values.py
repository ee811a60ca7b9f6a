"""Stage `values`: estimate V*(x) of every training prompt from its samples' rewards."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
import torch

from apo_core import config
from apo_core.errors import ApoError
from apo_core.tables import SAMPLES, VALUES, read_metadata, read_table, write_table
from apo_core.values.optimal import optimal_value
from apo_core.values.pooled import Prior, fit_prior, pooled_value, successes
from apo_core.values.selection import (
    IMPROBABLE,
    NEARLY_ALWAYS_SOLVED,
    SOLVABLE,
    dropped_but_solvable,
    reason_to_drop,
)
from apo_core.values.success_rate import expected_reward, probability_above
from tasks.quality.checks import value_checks
from tasks.quality.expectations import validate
from tasks.stages.process import Facts
from tasks.workspace import Workspace


class Priors(NamedTuple):
    """What is known of a prompt before its samples."""

    success: Prior
    """Of the `successes` that V* is made of."""
    reward: Prior
    """Of the rewards; the same where these are 0 or 1."""
    cautious: Prior
    """Of the rewards, with prompts that hardly differ less than that."""


def run(workspace: Workspace, seed: int, values: config.Values) -> Facts:
    """Write `data/values.parquet`, with the fingerprint of its samples in its metadata."""
    samples = read_table(workspace.samples, SAMPLES)
    if samples["reward"].isna().all():
        raise ApoError(f"{workspace.samples}: reward: the verifier has scored none of {len(samples)} samples")
    priors = fit_priors(samples, values.beta1)
    table = value_table(samples, values, priors)
    dropped = table["dropped"].value_counts().to_dict()
    if sum(dropped.values()) == len(table):
        raise ApoError(
            f"{workspace.samples}: reward: none of {len(table)} prompts is left to train on: "
            f"{', '.join(f'{count} {reason}' for reason, count in dropped.items())} (values.drop_unsolved, "
            "drop_solved, keep_mean_reward)"
        )
    prior = priors.success if values.estimate == "pooled" else None
    frame, checks = value_checks(table, samples, beta1=values.beta1, prior=prior, seed=seed)
    report = workspace.validation("values")
    validate(frame, checks, table=workspace.values, row="prompt_id", report=report)
    metadata = read_metadata(workspace.samples) | values.model_dump(mode="json")
    metadata["expected_reward_limits"] = expected_reward_limits(table, priors.cautious)
    write_table(workspace.values, table, VALUES, metadata)
    kept = len(table) - sum(dropped.values())
    return (
        {"prompts": len(table), "kept": kept}
        | {f"dropped_{reason}": n for reason, n in dropped.items()}
        | {"dropped_but_solvable": dropped_but_solvable(table)}
    )


def fit_priors(samples: pd.DataFrame, beta1: float) -> Priors:
    """Fit the priors to all prompts, those that will be dropped too.

    Of each prompt, as many of the first samples as every prompt has: the rewards of these decided which
    prompts got more, so that with all samples the prompts that got more would count for too much.
    """
    fewest = samples.groupby("prompt_id").size().min()
    first = samples[samples["sample_index"] < fewest].dropna(subset=["reward"])
    owner = torch.tensor(pd.factorize(first["prompt_id"])[0])
    rewards = torch.tensor(first["reward"].to_numpy())
    return Priors(
        success=fit_prior(successes(rewards, beta1), owner),
        reward=fit_prior(rewards, owner),
        cautious=fit_prior(rewards, owner, standard_errors=2),
    )


def value_table(samples: pd.DataFrame, values: config.Values, priors: Priors) -> pd.DataFrame:
    """One row per prompt, in the order of the samples; the columns are `tables.VALUES`.

    Samples that the verifier failed on are left out, of N too; a prompt without scored samples is dropped.
    """
    rewards = samples.groupby("prompt_id", sort=False)["reward"]
    table = rewards.agg(mean_reward="mean", n="count", max_reward="max").reset_index()
    sums, counts = rewards.sum().to_numpy(), table["n"].to_numpy()
    table["expected_reward"] = expected_reward(sums, counts, priors.reward)
    table["solvable"] = probability_above(SOLVABLE, sums, counts, priors.reward)
    unsolved, solved = table["max_reward"] <= 0, table["mean_reward"] >= 1
    if values.estimate == "published":
        table["v_star"] = table["prompt_id"].map(_own_values(samples, values.beta1))
        means = table["mean_reward"]
    else:
        table["v_star"] = _pooled_values(samples, values.beta1, priors.success)
        means = table["expected_reward"]
        # Few samples prove little: not even of one that has been solved every time, or never.
        unsolved &= table["solvable"] < IMPROBABLE
        saturated = probability_above(NEARLY_ALWAYS_SOLVED, sums, counts, priors.reward)
        solved &= saturated > 1 - IMPROBABLE
    rules = values.model_dump(include={"drop_unsolved", "drop_solved", "keep_mean_reward"})
    table["dropped"] = [
        reason_to_drop(mean, unsolved=never, solved=always, **rules) if n else "error"
        for mean, never, always, n in zip(means, unsolved, solved, table["n"], strict=True)
    ]
    return table


def expected_reward_limits(table: pd.DataFrame, cautious: Prior) -> tuple[float, float]:
    """What the guard expects: lowest and highest mean reward of the reference policy on the prompts kept.

    Not the samples' own mean reward: these prompts were chosen by it, and where few are ever solved it is
    more than twice what the reference policy gets on them again. A prior from few samples may itself believe
    them too easily, so this one errs towards all prompts' mean. The highest is the estimate, so that a policy
    that learns at once is asked for no more; the lowest is below it by three standard errors of a mean of as
    many rewards as the kept prompts have samples.
    """
    kept = table[table["dropped"].isna()]
    counts = kept["n"].to_numpy()
    mean = float(expected_reward(kept["mean_reward"].to_numpy() * counts, counts, cautious).mean())
    error = math.sqrt(mean * (1 - mean) / counts.sum())
    return max(mean - 3 * error, 0.0), mean


def _own_values(samples: pd.DataFrame, beta1: float) -> pd.Series:
    """V* by prompt as the paper estimates it; prompts without scored samples are left out."""
    scored = samples.dropna(subset=["reward"]).sort_values("prompt_id", kind="stable")
    parts = []
    for n, rows in scored.groupby(scored.groupby("prompt_id")["reward"].transform("size")):
        rewards = torch.tensor(rows["reward"].to_numpy()).view(-1, n)
        parts.append(pd.Series(optimal_value(rewards, beta1).numpy(), index=rows["prompt_id"].iloc[::n]))
    return pd.concat(parts)


def _pooled_values(samples: pd.DataFrame, beta1: float, prior: Prior) -> pd.Series:
    """Posterior mean of V* by prompt, in the order of the samples."""
    scores = successes(torch.tensor(samples["reward"].to_numpy()), beta1)
    by_prompt = pd.Series(scores.numpy()).groupby(pd.factorize(samples["prompt_id"])[0])
    sums, counts = by_prompt.sum(), by_prompt.count()
    means, _ = pooled_value(torch.tensor(sums.to_numpy()), torch.tensor(counts.to_numpy()), prior, beta1)
    return pd.Series(means.numpy()).where(counts > 0)
