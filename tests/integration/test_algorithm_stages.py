"""Stage `train` with every algorithm: its outputs, and a resumed run that equals an uninterrupted one."""

import json
import shutil
from typing import get_args

import pytest
import torch
from builders import (
    assert_same_training,
    execute,
    kill_when,
    run_stage,
    steps_done,
    training_outcome,
    weights_hash,
)
from mlflow import MlflowClient

from apo_core.config import DEFAULTS
from apo_core.config.file import set_params
from apo_core.decisions.promotion_rule import Outcome
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from tasks.stages import train
from tasks.workspace import Workspace

pytestmark = [pytest.mark.production, pytest.mark.with_engines]

SMALL = ["train.batch_size=16", "train.rollout_batch_size=64", "train.checkpoint.every=4"]


LORA = "train.lora={rank: 2, alpha: 4.0}"
ALL = [(name, "train.lora=null") for name in DEFAULTS] + [("ppo", LORA), ("oapl", LORA)]


@pytest.mark.parametrize(("name", "lora"), ALL)
def test_training_writes_a_policy_metrics_and_facts(workspace, name, lora):
    set_params(workspace / "params.yaml", [f"algorithm={name}", *SMALL, "train.steps=2", lora])
    paths = Workspace(workspace)
    facts = run_stage(train, paths)
    responses = DEFAULTS[name].get("responses", 2 if name == "rebel" else 1)
    assert (facts["algorithm"], facts["responses_per_prompt"]) == (name, responses)
    rows = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all({"kl", "reward", "response_length"} <= set(row) for row in rows)
    policy, reference = (
        load_policy(ModelRef(path=path, dtype="float32")) for path in (paths.policy, paths.reference)
    )
    before, after = reference.state_dict(), policy.state_dict()
    assert set(before) == set(after)
    assert any(not torch.equal(before[key], after[key]) for key in before)


# PPO's checkpoint holds a critic with its own optimizer state; OAPL's holds a copy of an older policy.
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_killed_pipeline_resumes_and_ends_as_an_uninterrupted_one(workspace, name):
    overrides = [f"algorithm={name}", *(["algorithm.sync_every=6"] if name == "oapl" else [])]
    set_params(workspace / "params.yaml", [*overrides, *SMALL, "train.steps=40"])
    execute("apo stage train --force", workspace)
    shutil.rmtree(workspace / ".dvc/cache")  # DVC would take the finished outputs from its cache
    expected, before = (workspace / "data/metrics.jsonl").read_text(), weights_hash(workspace)
    kill_when(workspace, ["apo", "run", "--force", "train"], lambda: 10 <= steps_done(workspace) < 40)
    output = execute("apo run", workspace).stdout
    assert "train: resumed at step " in output
    assert json.loads((workspace / "reports/stages/train.json").read_text())["resumed_from_step"] >= 8
    rows = [json.loads(line) for line in (workspace / "data/metrics.jsonl").read_text().splitlines()]
    losses = [json.loads(line)["loss"] for line in expected.splitlines()]
    assert [row["loss"] for row in rows] == losses
    assert weights_hash(workspace) == before
    summary = json.loads((workspace / "reports/summary.json").read_text())
    assert summary["decision"]["outcome"] in get_args(Outcome)
    run = MlflowClient(f"sqlite:///{workspace}/.apo/mlflow.db").get_run(summary["run_id"])
    assert (run.info.status, run.data.params["algorithm.name"]) == ("FINISHED", name)


@pytest.mark.parametrize("shared", ["", "--set train.zero_stage=3"], ids=["whole", "shared"])
def test_a_critic_and_several_updates_are_the_same_on_two_ranks(workspace, shared):
    """Advantages are whitened, and mean response lengths taken, over all ranks."""
    several = "--set algorithm=ppo --set algorithm.epochs=2 --set algorithm.minibatches=2"
    small = "--set train.batch_size=32 --set train.steps=2"
    execute(f"apo stage train --force {several} {small}", workspace)
    expected = training_outcome(workspace)
    execute(f"apo stage train --force --set train.ranks=2 {shared}", workspace)
    # Adam moves weights by 1.5e-4 even where rounding decides the sign of a gradient: hence the mean.
    actual = training_outcome(workspace)
    assert_same_training(actual, expected, metrics=1e-5, weights=1e-6, measure=torch.mean)
