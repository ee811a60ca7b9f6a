"""The doctor's memory plan of a configuration's model, made without a hub."""

import json

import pytest
import torch

from apo_core.config import DEFAULTS, Params
from apo_core.errors import ApoError
from apo_core.plan.hardware import machine_of
from apo_core.plan.items import peak_mib
from apo_core.training.policy_copy import BUCKET_BYTES
from flows.doctor.memory import memory_plan, planned_model
from flows.doctor.this_machine import this_machine
from flows.workspaces import load_preset
from tasks.workspace import Workspace

BILLIONS = {"1.5b": 1.543714304, "3b": 3.085938688, "7b": 7.615616512}  # as published, embeddings included
HERE, H100 = this_machine(), machine_of("H100-80", 4)


@pytest.fixture(autouse=True)
def _presets(root):
    """They lie beside the code."""


def plan_of(tmp_path, params, machine=HERE, stage="train"):
    """MiB by name."""
    config, model = planned_model(Workspace(tmp_path), params)
    (items,) = (each.items for each in memory_plan(params, config, model, machine) if each.stage == stage)
    return {item.name: item.mib for item in items}


@pytest.mark.parametrize("size", BILLIONS)
def test_the_papers_presets_have_a_plan(tmp_path, monkeypatch, size):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    params = load_preset(f"qwen2.5-{size}-math", ["train.ranks=4"])
    plan = plan_of(tmp_path, params, H100)
    assert plan["policy"] == pytest.approx(BILLIONS[size] * 1e9 * 2 / 2**20)
    assert plan["optimizer"] == pytest.approx(BILLIONS[size] * 1e9 * 8 / 2**20 / 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero_stage", "shared"),
    [
        (0, {"master weights", "optimizer"}),  # of bfloat16, as the first stage
        (2, {"master weights", "optimizer", "gradients"}),
        (3, {"master weights", "optimizer", "gradients", "policy"}),
    ],
)
def test_ranks_share_what_the_stage_says(tmp_path, zero_stage, shared):
    def plan(ranks):
        engine = "train.sampler.engine=transformers"  # gathers all weights for a rollout
        assignments = [engine, f"train.ranks={ranks}", f"train.zero_stage={zero_stage}"]
        return plan_of(tmp_path, load_preset("qwen2.5-1.5b-gsm8k", assignments), H100)

    one_rank, four_ranks = plan(1), plan(4)
    smaller = {
        name for name in one_rank if four_ranks[name] == pytest.approx(one_rank[name] / 4) and one_rank[name]
    }
    assert smaller - {"key-value cache", "logits of a token", "flat gradients of the step"} == shared
    assert four_ranks["gathered weights"] == pytest.approx(
        one_rank["policy"] * (0.75 if zero_stage == 3 else 0)
    )


@pytest.mark.slow
def test_a_critic_is_a_second_policy_and_a_lagging_copy_a_reference_in_checkpoints(tmp_path):
    sections = load_preset("qwen2.5-1.5b-gsm8k").model_dump()
    sections["train"]["sampler"]["engine"] = "transformers"  # a lagging copy samples with no other
    params = Params.model_validate(sections)

    def plan(name):
        algorithm = Params.model_validate(params.model_dump() | {"algorithm": DEFAULTS[name]}).algorithm
        return plan_of(tmp_path, params.model_copy(update={"algorithm": algorithm}))

    apo, ppo, oapl, grpo = (plan(name) for name in ("apo", "ppo", "oapl", "grpo"))
    for name in ("optimizer", "gradients", "master weights", "checkpoints", "activations"):
        assert ppo[name] == pytest.approx(2 * apo[name]), name
    assert ppo["policy and critic"] == 2 * apo["policy"]
    assert oapl["lagging copy"] == apo["reference"] == apo["policy"]
    kept = params.train.checkpoint.keep + 2
    assert oapl["checkpoints"] == pytest.approx(apo["checkpoints"] + kept * apo["policy"])
    assert grpo["policy"] == apo["policy"]


def test_an_engine_beside_the_policy_decodes_in_its_place_and_sleeps_while_it_learns(tmp_path):
    def items(engine, machine):
        params = load_preset("qwen2.5-1.5b-gsm8k", [f"train.sampler.engine={engine}"])
        config, model = planned_model(Workspace(tmp_path), params)
        return memory_plan(params, config, model, machine)[1].items

    own, beside = items("transformers", H100), items("vllm", H100)
    sizes = {item.name: item.mib for item in beside}
    assert not any("vLLM" in item.name for item in own)
    assert sizes["vLLM asleep"] + sizes["vLLM awake"] == pytest.approx(0.3 * H100.device_mib)
    assert "key-value cache" not in sizes
    awake = next(item for item in beside if item.name == "vLLM awake")
    assert awake.phase == "rollout"
    on_cpu = {item.name: item for item in items("vllm", HERE)}
    if not torch.cuda.is_available():
        assert on_cpu["vLLM"].mib == pytest.approx(0.3 * HERE.device_mib)
        assert on_cpu["bucket of weights"].phase == "rollout"
        largest = 151_936 * 1_536 * 2  # the embedding, in a bucket of its own
        assert on_cpu["bucket of weights"].mib * 2**20 == largest > BUCKET_BYTES


def test_an_engine_whose_cache_is_given_takes_that_and_its_weights(tmp_path):
    plan = plan_of(tmp_path, load_preset("embedded", ["train.sampler.engine=vllm"]))
    if not torch.cuda.is_available():
        assert 1024 + 1500 < plan["vLLM"] < 1024 + 1500 + 5  # the model has two megabytes


def test_a_reference_in_half_the_precision_takes_half(tmp_path):
    full = plan_of(tmp_path, load_preset("embedded"))
    half = plan_of(tmp_path, load_preset("embedded", ["train.reference_dtype=bfloat16"]))
    assert half["reference"] == full["reference"] / 2 == full["policy"] / 2


def test_a_policy_that_decodes_on_a_processor_packs_its_weights(tmp_path):
    plan = plan_of(tmp_path, load_preset("embedded"))
    assert plan["packed weights"] == (0 if torch.cuda.is_available() else plan["policy"])
    assert plan_of(tmp_path, load_preset("embedded"), H100)["packed weights"] == 0


def test_sampling_and_evaluation_are_planned_too(tmp_path):
    params = load_preset("qwen2.5-1.5b-gsm8k", ["sampler.engine=vllm", "sampling.workers=4"])
    assert plan_of(tmp_path, params, H100, "sample")["vLLM"] == pytest.approx(0.9 * H100.device_mib)
    weights = BILLIONS["1.5b"] * 1e9 * 2 / 2**20
    assert plan_of(tmp_path, params, H100, "evaluate, KL")["policy and reference"] == pytest.approx(
        2 * weights
    )
    by_transformers = load_preset("qwen2.5-1.5b-gsm8k", ["sampler.engine=transformers"])
    own = plan_of(tmp_path, by_transformers, H100, "sample")
    # 2 x 28 layers x 2 heads of 128 in bfloat16, 256 responses of up to 1,280 tokens.
    assert own["key-value cache"] == pytest.approx(2 * 28 * 256 * 2 * 256 * 1280 / 2**20)


def test_a_model_of_4b_on_one_gpu_is_not_approved(tmp_path):
    """What a step without float32 gradients held beyond the plan made it run out of memory."""
    params = load_preset("qwen2.5-3b-math", ["train.zero_stage=0"])
    config, model = planned_model(Workspace(tmp_path), params)
    whole = memory_plan(params, config, model, H100)[1].items
    bigger = (
        BILLIONS["3b"] * 1e9 * (2 + 2 + 4 + 8 + 2 + 4) / 2**20
    )  # weights twice, masters, Adam, gradients twice
    assert peak_mib(whole) > bigger


def test_a_workspaces_own_model_is_read(tmp_path, model_directory):
    workspace = Workspace(tmp_path)
    workspace.raw_model.parent.mkdir(parents=True)
    params = load_preset("gsm8k-smollm2")
    with pytest.raises(ApoError, match="no such directory"):
        planned_model(workspace, params)
    model_directory.rename(workspace.raw_model)
    assert 0 < plan_of(tmp_path, params)["policy"] < 1


def test_a_model_with_code_of_its_own_is_planned_where_that_is_trusted(
    tmp_path, model_directory, monkeypatch
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    workspace = Workspace(tmp_path)
    workspace.raw_model.parent.mkdir(parents=True)
    model_directory.rename(workspace.raw_model)
    config = workspace.raw_model / "config.json"
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "own", "auto_map": own}))
    (workspace.raw_model / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    params = load_preset("gsm8k-smollm2")
    with pytest.raises(ApoError, match=r"its config\.json cannot be read: .*custom code"):
        planned_model(workspace, params)
    assert 0 < plan_of(tmp_path, params.model_copy(update={"trust_remote_code": True}))["policy"] < 1
