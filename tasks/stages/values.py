"""Stage `values`: estimate V*(x) of every training prompt from its samples' rewards."""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor

from apo_core import config
from apo_core.errors import ApoError
from apo_core.tables import SAMPLES, VALUES, read_metadata, read_table, write_table
from apo_core.values.optimal import optimal_value
from apo_core.values.pooled import Prior, pooled_value, successes
from apo_core.values.selection import reason_to_drop
from tasks.quality.checks import value_checks
from tasks.quality.expectations import validate
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(workspace: Workspace, seed: int, values: config.Values) -> Facts:
    """Write `data/values.parquet`, with the fingerprint of its samples in its metadata."""
    samples = read_table(workspace.samples, SAMPLES)
    metadata = read_metadata(workspace.samples)
    prior = _prior(workspace, metadata["pooled"], values.beta1)
    table = value_table(samples, values, prior)
    dropped = table["dropped"].value_counts().to_dict()
    if sum(dropped.values()) == len(table):
        raise ApoError(
            f"{workspace.samples}: reward: none of {len(table)} prompts is left to train on: "
            f"{', '.join(f'{count} {reason}' for reason, count in dropped.items())} (values.drop_unsolved, "
            "drop_solved, keep_mean_reward)"
        )
    frame, checks = value_checks(table, samples, beta1=values.beta1, prior=prior, seed=seed)
    report = workspace.validation("values")
    validate(frame, checks, table=workspace.values, row="prompt_id", report=report)
    write_table(workspace.values, table, VALUES, metadata | values.model_dump(mode="json"))
    kept = len(table) - sum(dropped.values())
    return {"prompts": len(table), "kept": kept} | {f"dropped_{reason}": n for reason, n in dropped.items()}


def _prior(workspace: Workspace, pooled: dict[str, float] | None, beta1: float) -> Prior | None:
    if pooled is None:
        return None
    if pooled["beta1"] != beta1:
        raise ApoError(
            f"{workspace.samples}: was sampled for V* of beta1 {pooled['beta1']:g}, "
            f"values.beta1 is {beta1:g}; sample again (`apo run`)"
        )
    return Prior(pooled["alpha"], pooled["beta"])


def value_table(samples: pd.DataFrame, values: config.Values, prior: Prior | None) -> pd.DataFrame:
    """One row per prompt, in the order of the samples; the columns are `tables.VALUES`.

    With the prior of adaptive sampling V* is pooled: see `apo_core.values.pooled`.
    Samples that the verifier failed on are left out, of N too; a prompt without scored samples is dropped.
    """
    rewards = samples.groupby("prompt_id", sort=False)["reward"]
    table = rewards.agg(mean_reward="mean", n="count", max_reward="max").reset_index()
    groups = [torch.tensor(group.dropna().to_numpy()) for _, group in rewards]  # N may differ
    table["v_star"] = [_value(group, values.beta1, prior) for group in groups]
    rules = values.model_dump(include={"drop_unsolved", "drop_solved", "keep_mean_reward"})
    table["dropped"] = [
        reason_to_drop(mean, largest, **rules) if n else "error"
        for mean, largest, n in zip(table["mean_reward"], table["max_reward"], table["n"], strict=True)
    ]
    return table


def _value(rewards: Tensor, beta1: float, prior: Prior | None) -> float:
    """V* of one prompt, from its (N,) rewards."""
    if not len(rewards):
        return math.nan
    if prior is None:
        return float(optimal_value(rewards, beta1))
    mean, _ = pooled_value(successes(rewards, beta1).sum()[None], torch.tensor([len(rewards)]), prior, beta1)
    return float(mean)
