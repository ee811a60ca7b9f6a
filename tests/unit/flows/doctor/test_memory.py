"""The doctor's memory plan of a configuration's model, made without a hub."""

import json
from types import SimpleNamespace

import pytest
import torch

from apo_core.config import DEFAULTS, Params
from apo_core.errors import ApoError
from apo_core.model.memory_plan import peak_mib
from flows.doctor.machine import examine_plan
from flows.doctor.memory import machine_mib, memory_plan
from flows.workspaces import load_preset
from tasks.workspace import Workspace

BILLIONS = {"1.5b": 1.543714304, "3b": 3.085938688, "7b": 7.615616512}  # as published, embeddings included


@pytest.mark.slow
@pytest.mark.parametrize(("size", "ranks"), [("1.5b", 1), ("3b", 1), ("7b", 4)])
def test_gpus_of_80_gb_hold_what_the_readme_says(root, tmp_path, size, ranks):
    params = load_preset(f"qwen2.5-{size}-gsm8k")
    assert params.train.ranks == ranks
    assert 15e9 / 2**20 < peak_mib(memory_plan(Workspace(tmp_path), params)) < 80e9 / 2**20


@pytest.mark.parametrize("size", BILLIONS)
def test_the_papers_presets_print_a_plan(root, tmp_path, monkeypatch, size):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    params = load_preset(f"qwen2.5-{size}-math")
    plan = {item.name: item.mib for item in memory_plan(Workspace(tmp_path), params)}
    assert plan["policy"] == pytest.approx(BILLIONS[size] * 1e9 * 2 / 2**20)
    assert plan["optimizer"] == pytest.approx(BILLIONS[size] * 1e9 * 8 / 2**20 / params.train.ranks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero_stage", "shared"),
    [(0, {"master weights", "optimizer"}), (2, {"gradients"}), (3, {"gradients", "policy"})],
)
def test_ranks_share_what_the_stage_says(root, tmp_path, zero_stage, shared):
    params = load_preset("qwen2.5-1.5b-gsm8k")

    def plan(ranks):
        train = params.train.model_copy(update={"ranks": ranks, "zero_stage": zero_stage})
        items = memory_plan(Workspace(tmp_path), params.model_copy(update={"train": train}))
        return {item.name: item.mib for item in items}

    one_rank, four_ranks = plan(1), plan(4)
    smaller = {
        name for name in one_rank if four_ranks[name] == pytest.approx(one_rank[name] / 4) and one_rank[name]
    }
    assert smaller - {"key-value cache", "logits of a token"} == shared | {"master weights", "optimizer"}
    assert four_ranks["gathered weights"] == pytest.approx(
        one_rank["policy"] * (0.75 if zero_stage == 3 else 0)
    )


@pytest.mark.slow
def test_a_critic_is_a_second_policy_and_a_lagging_copy_a_reference_in_checkpoints(root, tmp_path):
    sections = load_preset("qwen2.5-1.5b-gsm8k").model_dump()
    sections["train"]["sampler"]["engine"] = "transformers"  # a lagging copy samples with no other
    params = Params.model_validate(sections)

    def plan(name):
        algorithm = Params.model_validate(params.model_dump() | {"algorithm": DEFAULTS[name]}).algorithm
        items = memory_plan(Workspace(tmp_path), params.model_copy(update={"algorithm": algorithm}))
        return {item.name: item.mib for item in items}

    apo, ppo, oapl, grpo = (plan(name) for name in ("apo", "ppo", "oapl", "grpo"))
    for name in ("optimizer", "gradients", "master weights", "checkpoints", "activations"):
        assert ppo[name] == pytest.approx(2 * apo[name]), name
    assert ppo["policy and critic"] == 2 * apo["policy"]
    assert oapl["lagging copy"] == apo["reference"] == apo["policy"]
    kept = params.train.checkpoint.keep + 2
    assert oapl["checkpoints"] == pytest.approx(apo["checkpoints"] + kept * apo["policy"])
    assert grpo["policy"] == apo["policy"]


def test_an_engine_beside_the_policy_decodes_in_its_place(root, tmp_path):
    params = load_preset("qwen2.5-1.5b-gsm8k")

    def plan(engine):
        sampler = params.train.sampler.model_copy(update={"engine": engine})
        train = params.train.model_copy(update={"sampler": sampler})
        items = memory_plan(Workspace(tmp_path), params.model_copy(update={"train": train}))
        return {item.name: item.mib for item in items}

    own, beside = plan("transformers"), plan("vllm")
    assert own["rollout engine"] == 0
    assert own["key-value cache"] > 0
    assert beside["rollout engine"] == pytest.approx(0.3 * machine_mib(1))
    assert beside["key-value cache"] == beside["logits of a token"] == 0


def test_an_engine_whose_cache_is_given_takes_that_and_its_weights(root, tmp_path):
    params = load_preset("embedded")
    sampler = params.train.sampler.model_copy(update={"engine": "vllm"})
    train = params.train.model_copy(update={"sampler": sampler})
    plan = memory_plan(Workspace(tmp_path), params.model_copy(update={"train": train}))
    planned_mib = {item.name: item.mib for item in plan}
    assert 1024 + 1500 < planned_mib["rollout engine"] < 1024 + 1500 + 5  # the model has two megabytes
    assert planned_mib["packed weights"] == 0


@pytest.mark.parametrize(("free", "good"), [(10 * 2**30, True), (2**20, False)])
def test_checkpoints_that_the_disk_does_not_hold_are_a_problem(root, tmp_path, monkeypatch, free, good):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    finding, _ = examine_plan(Workspace(tmp_path), load_preset("embedded"))
    assert finding.good == good
    assert f"of {free / 2**30:.1f} free" in finding.detail


def test_a_reference_in_half_the_precision_takes_half(root, tmp_path):
    params = load_preset("embedded")
    train = params.train.model_copy(update={"reference_dtype": "bfloat16"})
    full, half = (
        {item.name: item.mib for item in memory_plan(Workspace(tmp_path), configuration)}
        for configuration in (params, params.model_copy(update={"train": train}))
    )
    assert half["reference"] == full["reference"] / 2 == full["policy"] / 2


def test_a_policy_that_decodes_on_a_processor_packs_its_weights(root, tmp_path):
    planned_mib = {item.name: item.mib for item in memory_plan(Workspace(tmp_path), load_preset("embedded"))}
    assert planned_mib["packed weights"] == (0 if torch.cuda.is_available() else planned_mib["policy"])


def test_a_workspaces_own_model_is_read(root, tmp_path, model_directory):
    workspace = Workspace(tmp_path)
    workspace.raw_model.parent.mkdir(parents=True)
    params = load_preset("gsm8k-smollm2")
    with pytest.raises(ApoError, match="no such directory"):
        memory_plan(workspace, params)
    model_directory.rename(workspace.raw_model)
    assert 0 < memory_plan(workspace, params)[1].mib < 1


def test_a_model_with_code_of_its_own_is_planned_where_that_is_trusted(
    root, tmp_path, model_directory, monkeypatch
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
        memory_plan(workspace, params)
    trusted = params.model_copy(update={"trust_remote_code": True})
    assert 0 < memory_plan(workspace, trusted)[1].mib < 1
