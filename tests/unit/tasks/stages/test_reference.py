"""Stage `reference` on model directories: it saves what it read, and what it refuses leaves nothing."""

import json
from datetime import date

import pytest
import torch
from builders import run_stage
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM, Qwen3NextConfig

from apo_core.config.file import set_params
from apo_core.errors import ApoError, InputError
from apo_core.model.chat_template import kept_date
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.template import load_tokenizer
from flows.workspaces import preset_text
from tasks.stages import reference
from tasks.workspace import Workspace

TODAY = "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
SMALL = {"vocab_size": 17, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
SMALL |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}


@pytest.fixture
def workspace(tmp_path, root, model_directory):
    """A workspace that reads a model directory of its own."""
    new = Workspace(tmp_path)
    new.params.write_text(preset_text("ci"))
    set_params(new.params, ["reference.source=directory"])
    new.raw_model.parent.mkdir(parents=True)
    model_directory.rename(new.raw_model)
    return new


def refused(workspace):
    with pytest.raises(InputError) as error:
        run_stage(reference, workspace)
    assert not workspace.reference.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "model",
    [
        lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=True)),
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=16, n_layer=1, n_head=2, n_positions=32)),
        lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL)).to(torch.bfloat16),
    ],
    ids=["qwen2", "gpt2", "bfloat16"],
)
def test_plain_models_are_saved(workspace, tokenizer, model):
    save_policy(model(), tokenizer, workspace.raw_model)
    assert run_stage(reference, workspace)["parameters"] > 0
    assert (workspace.reference / "model.safetensors").is_file()
    assert kept_date(load_tokenizer(ModelRef(path=workspace.reference))) is None


def test_the_day_of_the_reference_is_kept(workspace):
    (workspace.raw_model / "chat_template.jinja").write_text(TODAY)
    run_stage(reference, workspace)
    saved = load_tokenizer(ModelRef(path=workspace.reference))
    assert kept_date(saved) == date.today().isoformat()


def test_what_is_another_model_once_saved_is_refused(workspace, monkeypatch):
    def save_scaled(model, tokenizer, directory):
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(2)
        save_policy(model, tokenizer, directory)

    monkeypatch.setattr(reference, "save_policy", save_scaled)
    assert "is another model once saved and loaded again: its logits differ by" in refused(workspace)


def test_a_model_that_cannot_be_rehearsed_leaves_nothing(workspace, monkeypatch):
    def fail(*_):
        raise ApoError("the model cannot be trained: no reason")

    monkeypatch.setattr(reference, "rehearse", fail)
    assert refused(workspace) == f"{workspace.raw_model}: the model cannot be trained: no reason"


def test_a_tokenizer_that_ends_beyond_the_embeddings_is_refused(workspace):
    file = workspace.raw_model / "tokenizer_config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"eos_token": "<end of all>"}))
    assert "the tokenizer's eos_token '<end of all>' is token 17, the model has embeddings for 17" in refused(
        workspace
    )


@pytest.mark.slow
def test_a_hybrid_model_is_refused_by_its_type(workspace, tokenizer):
    from transformers import Qwen3NextForCausalLM

    config = Qwen3NextConfig(
        **SMALL,
        head_dim=8,
        layer_types=["linear_attention"],
        linear_num_value_heads=2,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    )
    save_policy(Qwen3NextForCausalLM(config), tokenizer, workspace.raw_model)
    assert "models of type qwen3_next keep convolutional or recurrent states" in refused(workspace)
