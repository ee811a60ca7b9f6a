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
    """The workspace after four steps on one rank, and what came of them."""
    place = copy_of(finished, tmp_path_factory.mktemp("ranks") / "workspace")
    execute(f"apo stage train {SMALL}", place)
    return place, training_outcome(place)


def test_two_ranks_train_what_one_does_and_one_goes_on_from_there(trained):
    place, expected = trained
    execute("apo stage train --force --set train.ranks=2", place)
    assert_same_training(training_outcome(place), expected)
    facts = json.loads((place / "reports/stages/train.json").read_text())
    assert facts["ranks"] == 2
    output = execute("apo stage train --set train.ranks=1 --set train.steps=5", place).stdout
    assert "train: resumed at step 4 of 5" in output


def test_ranks_that_share_the_weights_train_the_same_and_are_not_joined_by_others(trained):
    place, expected = trained
    shared = "--set train.ranks=2 --set train.steps=4 --set train.zero_stage=3 --set train.offload=all"
    execute(f"apo stage train --force {shared}", place)
    assert_same_training(training_outcome(place), expected)
    set_params(place / "params.yaml", ["train.ranks=1", "train.steps=6"])
    with pytest.raises(ApoError, match="is in parts of 2 ranks"):
        run_stage(train, Workspace(place))


def test_killed_ranks_leave_nothing_behind_and_go_on(trained):
    place, _ = trained
    settings = ["train.ranks=2", "train.zero_stage=0", "train.offload=none", "train.steps=8"]
    set_params(place / "params.yaml", settings)
    shutil.rmtree(place / "data/unfinished/train")
    kill_when(place, ["apo", "stage", "train"], lambda: steps_done(place) >= 3)
    output = execute("apo stage train", place).stdout
    assert "train: resumed at step " in output
    assert [row["step"] for row in training_outcome(place)[0]] == list(range(1, 9))


def test_adapters_train_on_ranks_that_share_the_weights(trained):
    """Drawn by vLLM where it is: an engine beside every rank, weights gathered and merged for them."""
    place, _ = trained
    engine = "vllm" if find_spec("vllm") else "transformers"
    small = f"train.sampler.engine={engine} --set train.sampler.vllm_override.kv_cache_gib=0.25"
    adapters = "--set 'train.lora={rank: 4, alpha: 8.0}' --set train.learning_rate=0.001"
    shared = f"--set train.ranks=2 --set train.zero_stage=3 --set train.steps=2 --set {small}"
    execute(f"apo stage train --force {adapters} {shared}", place)
    rows, weights = training_outcome(place)
    reference = load_file(place / "data/reference/model.safetensors")
    assert abs(rows[0]["kl"]) < 1e-6  # the policy without its adapters is the reference
    assert rows[0]["reward"] > 0.2  # as the reference draws, not the noise that vLLM begins with
    assert weights.keys() == reference.keys()
    changed = {name for name in weights if not torch.equal(weights[name], reference[name])}
    assert changed == {name for name in weights if "_proj" in name}
