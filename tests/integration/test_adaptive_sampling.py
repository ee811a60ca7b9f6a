"""Adaptive sampling with the real reference policy: as many responses per prompt as its V* needs."""

import pandas as pd
import pytest
import torch
from builders import run_stage

from apo_core.config.file import set_params
from apo_core.tables import SAMPLES, VALUES, read_metadata, read_table
from apo_core.values.pooled import fit_prior, pooled_value, successes
from tasks.stages import sample, train, values
from tasks.workspace import Workspace

RULE = "{{first: 2, deviation: {}, beta1: 0.5}}"


def half_way(samples):
    """The standard error that V* of about every other prompt has reached after two samples."""
    first = samples[samples["sample_index"] < 2]
    scores = successes(torch.tensor(first["reward"].to_numpy()), 0.5)
    owner = torch.arange(len(first) // 2).repeat_interleave(2)
    counts = torch.full((len(first) // 2,), 2)
    _, deviations = pooled_value(scores.view(-1, 2).sum(1), counts, fit_prior(scores, owner), 0.5)
    return deviations.median().item() + 1e-9


def test_settled_prompts_get_fewer_responses_and_the_same_ones(workspace):
    paths = Workspace(workspace)
    fixed = read_table(paths.samples, SAMPLES)
    deviation = half_way(fixed)
    fixed = fixed.set_index(["prompt_id", "sample_index"])
    limit = read_metadata(paths.samples)["n"]
    rule = RULE.format(deviation)
    set_params(paths.params, [f"sampling.adaptive={rule}", "sampling.shard_prompts=50", "train.steps=2"])
    facts = run_stage(sample, paths)
    drawn = read_table(paths.samples, SAMPLES)
    counts = drawn.groupby("prompt_id", sort=False).size()
    assert set(counts) <= {*range(2, limit, 2), limit} and counts.nunique() > 1
    assert facts["responses"] == len(drawn) == limit * len(counts) - facts["saved_responses"]
    assert facts["saved_responses"] > 0
    # A response's random numbers depend on its prompt and index only: a run with a fixed N has the same.
    again = drawn.set_index(["prompt_id", "sample_index"])
    pd.testing.assert_frame_equal(again, fixed.loc[again.index])
    assert drawn["prompt_id"].unique().tolist() == fixed.index.get_level_values(0).unique().tolist()

    first = drawn[drawn["sample_index"] < 2]
    owner = torch.arange(len(counts)).repeat_interleave(2)
    prior = fit_prior(successes(torch.tensor(first["reward"].to_numpy()), 0.5), owner)
    for beta1 in (0.25, 0.5):  # the rule's own last; responses need not be drawn again for another
        set_params(paths.params, [f"values.beta1={beta1}"])
        run_stage(values, paths)
        table = read_table(paths.values, VALUES)
        for row in table.head(20).itertuples():
            rewards = torch.tensor(drawn.loc[drawn["prompt_id"] == row.prompt_id, "reward"].to_numpy())
            right, count = successes(rewards, beta1).sum()[None], torch.tensor([len(rewards)])
            expected, known_to = pooled_value(right, count, prior, beta1)
            assert row.v_star == pytest.approx(expected.item())
            assert beta1 < 0.5 or known_to.item() <= deviation or row.n == limit
    assert table["dropped"].isna().mean() > 0.9  # two wrong responses do not make a prompt unsolved
    assert run_stage(train, paths)["steps"] == 2


def test_a_killed_sampling_is_resumed(workspace):
    paths = Workspace(workspace)
    set_params(paths.params, [f"sampling.adaptive={RULE.format(0.001)}", "sampling.shard_prompts=50"])
    run_stage(sample, paths)
    whole = paths.samples.read_bytes()
    shards = sorted(paths.work("sample").glob("sample-more-*.parquet"))
    assert len(shards) > 1
    shards[1].unlink()
    paths.samples.unlink()
    kept = shards[0].stat().st_mtime_ns
    run_stage(sample, paths)
    assert paths.samples.read_bytes() == whole
    assert shards[0].stat().st_mtime_ns == kept
