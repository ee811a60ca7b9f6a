import copy

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from apo_core.kernels.kv_cache import growing_cache
from apo_core.kernels.linear import can_pack, quick_linears
from apo_core.kernels.llama_step import LlamaStep, supports
from apo_core.model.lora import add_adapters

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 256,  # large enough for its products to be packed
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "bos_token_id": None,
}
DTYPES = [
    (torch.float32, 1e-4),
    pytest.param(
        torch.bfloat16,
        0.05,
        marks=pytest.mark.skipif(not can_pack(torch.bfloat16, "cpu"), reason="no instructions for bfloat16"),
    ),
]


def llama(**options):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE | options)).eval()
    return randomised(model)


def qwen2(**options):
    torch.manual_seed(0)
    return randomised(Qwen2ForCausalLM(Qwen2Config(**SHAPE | options)).eval())


@torch.no_grad()
def randomised(model):
    for parameter in model.parameters():
        if parameter.dim() == 1:  # biases are 0 and norms 1 as initialised
            parameter.uniform_(0.5, 1.5)
    return model


@torch.no_grad()
def two_steps(model, step):
    """Logits of two steps of three rows behind left-padded prompts."""
    attended = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
    token_ids = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10], [0, 11, 12, 13]])
    positions = attended.cumsum(-1).sub(1).clamp(min=0)
    cache = growing_cache(model.config, 99)
    model(token_ids, attention_mask=attended, position_ids=positions, past_key_values=cache)
    step_logits = []
    for offset, tokens in enumerate(([20, 21, 22], [30, 31, 32])):
        attended = torch.cat([attended, torch.ones(3, 1, dtype=torch.long)], dim=-1)
        ends = positions[:, -1:] + 1 + offset
        step_logits.append(step(torch.tensor(tokens)[:, None], attended, ends, cache))
    return torch.stack(step_logits)


def by_transformers(model):
    def step(token_ids, attended, positions, cache):
        return model(
            token_ids, attention_mask=attended, position_ids=positions, past_key_values=cache
        ).logits[:, -1]

    return step


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(
    "make",
    [
        llama,
        qwen2,
        lambda: llama(tie_word_embeddings=True, num_key_value_heads=8),
        lambda: llama(attention_bias=True, head_dim=16),
        lambda: llama(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}),
    ],
    ids=["llama", "qwen2", "tied", "biased", "positions"],
)
def test_a_step_has_the_logits_of_transformers(make, dtype, tolerance):
    model = make().to(dtype)
    expected = two_steps(model, by_transformers(model))
    quick_linears(model)
    assert supports(model, growing_cache(model.config, 99))
    step_logits = two_steps(model, LlamaStep(model, rows=3))
    torch.testing.assert_close(step_logits, expected, atol=tolerance, rtol=tolerance)


def test_weights_are_those_of_when_the_step_was_made():
    model = llama()
    before = two_steps(model, LlamaStep(model, rows=3))
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(3)
    after = two_steps(model, LlamaStep(model, rows=3))
    assert not torch.allclose(before, after, atol=1e-2)
    torch.testing.assert_close(after, two_steps(model, by_transformers(model)), atol=1e-4, rtol=1e-4)


def test_other_models_are_left_to_transformers():
    sliding = {"use_sliding_window": True, "sliding_window": 3, "layer_types": ["sliding_attention"] * 3}
    adapted = llama()
    add_adapters(adapted, rank=2, alpha=2.0, seed=0)
    mixed = copy.deepcopy(llama())
    mixed.model.layers[1].mlp.up_proj = torch.nn.Sequential(mixed.model.layers[1].mlp.up_proj)
    others = [
        qwen2(**sliding),
        llama(hidden_act="gelu"),
        adapted,
        mixed,
        GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=16, n_layer=1, n_head=2)),
    ]
    for model in others:
        assert not supports(model, growing_cache(model.config, 99))
