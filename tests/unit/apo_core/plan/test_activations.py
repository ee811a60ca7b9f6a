"""The plan against the modules themselves: what autograd really keeps."""

from functools import partial

import pytest
import torch
from transformers import BloomConfig, LlamaConfig, LlamaForCausalLM, MistralConfig

from apo_core.plan.activations import activation_bytes

ROWS, TOKENS, LAYERS = 3, 40, 5


SHAPE = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def config():
    return LlamaConfig(**SHAPE, tie_word_embeddings=True)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_what_autograd_keeps(config, dtype, again, attention):
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention)
    model = model.to(getattr(torch, dtype)).train()
    if again:
        model.gradient_checkpointing_enable()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = torch.ones((ROWS, TOKENS), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=batch, use_cache=False)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    plan = partial(activation_bytes, config, rows=ROWS, tokens=TOKENS, dtype=dtype, attention=attention)
    planned = plan(gradient_checkpointing=again)
    if again:  # one layer is whole while it is computed again
        whole = plan(gradient_checkpointing=False)
        assert real < planned < real + whole / (LAYERS - 1)
    else:
        assert planned == real


def test_a_window_that_is_shorter_than_the_text_has_a_mask():
    def kept(window):
        config = MistralConfig(**SHAPE, sliding_window=window)
        return activation_bytes(config, rows=ROWS, tokens=200, dtype="float32", gradient_checkpointing=False)

    assert kept(64) > kept(None) + ROWS * 200 * 200 == kept(256) + ROWS * 200 * 200


def test_an_architecture_without_fused_attention_is_planned_with_its_matrices():
    config = BloomConfig(vocab_size=300, hidden_size=64, n_layer=LAYERS, n_head=4)
    plan = partial(
        activation_bytes, config, rows=ROWS, tokens=200, dtype="float32", gradient_checkpointing=False
    )
    assert plan() == plan(attention="eager") > LAYERS * ROWS * 4 * 200 * 200 * 4


def test_matrices_of_attention_scores_are_planned_where_they_are_kept(config):
    def quadratic(attention):
        plan = partial(activation_bytes, config, rows=ROWS, dtype="float32", attention=attention)
        once, twice = (plan(tokens=tokens, gradient_checkpointing=False) for tokens in (200, 400))
        return twice - 2 * once

    matrices = LAYERS * ROWS * 4 * 200 * 200 * 4
    assert quadratic("eager") == pytest.approx(2 * matrices, rel=0.1)
    assert abs(quadratic(None)) < 0.01 * matrices
    assert quadratic("flash_attention_2") == quadratic("sdpa") == quadratic(None)
