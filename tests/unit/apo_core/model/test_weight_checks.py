import json

import pytest
import torch
from builders import tied_llama
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForSequenceClassification

from apo_core.errors import ApoError, InputError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy, save_policy
from apo_core.model.weight_checks import check_weights


def add(directory, **weights):
    file = directory / "model.safetensors"
    save_file(load_file(file) | weights, file, metadata={"format": "pt"})


def test_weights_of_another_head_are_named(model_directory):
    add(model_directory, **{"score.weight": torch.zeros(1, 16), "v_head.summary.bias": torch.zeros(1)})
    with pytest.raises(InputError) as refused:
        load_policy(ModelRef(path=model_directory))
    assert str(refused.value) == (
        f"{model_directory}: weights that the model has no place for: score.weight, v_head.summary.bias"
    )


def test_a_reward_model_is_no_policy_though_its_head_could_be_made_of_its_embedding(tmp_path, tokenizer):
    LlamaForSequenceClassification(tied_llama(num_labels=1)).save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    file = tmp_path / "reward/config.json"
    with pytest.raises(InputError, match="is no language model"):
        load_policy(ModelRef(path=tmp_path / "reward"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(InputError, match=r"no place for: score\.weight"):
        load_policy(ModelRef(path=tmp_path / "reward"))


def test_fewer_layers_than_the_weights_have_are_refused(model_directory):
    file = model_directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 1}))
    with pytest.raises(InputError, match=r"no place for: model\.layers\.1\..* and \d+ more"):
        load_policy(ModelRef(path=model_directory))


def test_constants_that_older_versions_stored_are_no_weights(model_directory):
    add(
        model_directory,
        **{
            "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4),
            "model.layers.1.self_attn.rotary_emb.cos_cached": torch.zeros(1, 1, 8, 4),
            "model.embed_tokens.position_ids": torch.zeros(8, dtype=torch.int64),
        },
    )
    load_policy(ModelRef(path=model_directory))


def test_gpt2s_stored_masks_are_no_weights(tmp_path, tokenizer):
    model = GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    save_policy(model, tokenizer, tmp_path / "gpt2")
    add(
        tmp_path / "gpt2",
        **{
            "transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32, dtype=torch.bool),
            "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        },
    )
    load_policy(ModelRef(path=tmp_path / "gpt2"))


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.q_proj.bias", "transformer.h.0.attn.c_attn.bias", "score.weight"]
)
def test_biases_of_layers_are_weights(name):
    with pytest.raises(ApoError, match="no place for"):
        check_weights(missing=[], unexpected=[name])


def test_many_names_are_counted():
    with pytest.raises(ApoError, match=r"weights are missing: a, b, c, d, e and 2 more"):
        check_weights(missing=list("gfedcba"), unexpected=[])
