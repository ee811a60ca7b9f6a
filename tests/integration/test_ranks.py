"""Training on two ranks, started by DeepSpeed's launcher as a user's run starts them."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from builders import (
    assert_same_training,
    copy_of,
    execute,
    kill_when,
    run_stage,
    steps_done,
    training_outcome,
)
from safetensors.torch import load_file

from apo_core.config.file import set_params
from apo_core.errors import ApoError
from tasks.stages import train
from tasks.workspace import Workspace

pytestmark = pytest.mark.long

SMALL = "--set train.steps=4 --set train.checkpoint.every=2"


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """The workspace after four steps on one rank, with its metrics and weights."""
    workspace = copy_of(finished, tmp_path_factory.mktemp("ranks") / "workspace")
    execute(f"apo stage train {SMALL}", workspace)
    return workspace, training_outcome(workspace)


def test_two_ranks_train_as_one_does_and_one_rank_resumes_their_checkpoint(trained):
    workspace, expected = trained
    execute("apo stage train --force --set train.ranks=2", workspace)
    assert_same_training(training_outcome(workspace), expected)
    facts = json.loads((workspace / "reports/stages/train.json").read_text())
    assert facts["ranks"] == 2
    output = execute("apo stage train --set train.ranks=1 --set train.steps=5", workspace).stdout
    assert "train: resumed at step 4 of 5" in output


@pytest.mark.production
def test_sharded_weights_train_the_same_and_other_rank_counts_cannot_resume_them(trained):
    workspace, expected = trained
    shared = "--set train.ranks=2 --set train.steps=4 --set train.zero_stage=3 --set train.offload=all"
    execute(f"apo stage train --force {shared}", workspace)
    assert_same_training(training_outcome(workspace), expected)
    set_params(workspace / "params.yaml", ["train.ranks=1", "train.steps=6"])
    with pytest.raises(ApoError, match="is in parts of 2 ranks"):
        run_stage(train, Workspace(workspace))


@pytest.mark.production
def test_killed_ranks_leave_no_process_behind_and_resume(trained):
    workspace, _ = trained
    overrides = ["train.ranks=2", "train.zero_stage=0", "train.offload=none", "train.steps=8"]
    set_params(workspace / "params.yaml", overrides)
    shutil.rmtree(workspace / "data/unfinished/train")
    kill_when(workspace, ["apo", "stage", "train"], lambda: steps_done(workspace) >= 3)
    output = execute("apo stage train", workspace).stdout
    assert "train: resumed at step " in output
    assert [row["step"] for row in training_outcome(workspace)[0]] == list(range(1, 9))


@pytest.mark.production
def test_adapters_train_on_sharded_weights(trained):
    """Sample with vLLM where it is installed: one engine per rank, with gathered and merged weights."""
    workspace, _ = trained
    engine = "vllm" if find_spec("vllm") else "transformers"
    small = f"train.sampler.engine={engine} --set train.sampler.vllm_override.kv_cache_gib=0.25"
    adapters = "--set 'train.lora={rank: 4, alpha: 8.0}' --set train.learning_rate=0.001"
    shared = f"--set train.ranks=2 --set train.zero_stage=3 --set train.steps=2 --set {small}"
    execute(f"apo stage train --force {adapters} {shared}", workspace)
    rows, weights = training_outcome(workspace)
    reference = load_file(workspace / "data/reference/model.safetensors")
    assert abs(rows[0]["kl"]) < 1e-6  # the policy without its adapters is the reference policy
    assert rows[0]["reward"] > 0.2  # the reference's weights, not the random ones that vLLM begins with
    assert weights.keys() == reference.keys()
    changed = {name for name in weights if not torch.equal(weights[name], reference[name])}
    assert changed == {name for name in weights if "_proj" in name}
