"""Stage `values`: V*(x) of every training prompt, from its samples' rewards."""

from __future__ import annotations

import pandas as pd
import torch

from apo_core import config
from apo_core.errors import ApoError
from apo_core.tables import SAMPLES, VALUES, read_metadata, read_table, write_table
from apo_core.values import optimal_value
from tasks.checks import value_checks
from tasks.quality import validate
from tasks.stage import Facts
from tasks.workspace import Workspace


def run(workspace: Workspace, seed: int, values: config.Values) -> Facts:
    """Write `data/values.parquet`, which carries the fingerprint of its samples."""
    samples = read_table(workspace.samples, SAMPLES)
    metadata = read_metadata(workspace.samples)
    table = value_table(samples, beta1=values.beta1, drop_unsolved=values.drop_unsolved)
    if not table["kept"].any():
        raise ApoError(
            f"{workspace.samples}: reward: no reference sample solves any of {len(table)} prompts; "
            "nothing is left to train on (values.drop_unsolved)"
        )
    frame, checks = value_checks(table, samples, beta1=values.beta1, seed=seed)
    report = workspace.validation("values")
    validate(frame, checks, table=workspace.values, row="prompt_id", report=report)
    write_table(workspace.values, table, VALUES, metadata | values.model_dump(mode="json"))
    return {"prompts": len(table), "kept": int(table["kept"].sum())}


def value_table(samples: pd.DataFrame, *, beta1: float, drop_unsolved: bool) -> pd.DataFrame:
    """One row a prompt, in the order of the samples; the columns are `tables.VALUES`."""
    rewards = samples.groupby("prompt_id", sort=False)["reward"]
    table = rewards.agg(mean_reward="mean", n="size", max_reward="max").reset_index()
    # One prompt at a time: adaptive sampling may give prompts different N.
    table["v_star"] = [optimal_value(torch.tensor(group.to_numpy()), beta1).item() for _, group in rewards]
    table["kept"] = (table["max_reward"] > 0) if drop_unsolved else True
    return table
