"""Counts against a model that has its weights."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from apo_core.plan.model_shape import adapter_parameters, cache_bytes, count_parameters, model_shape

ROWS, TOKENS = 3, 40


def config_of(tied):
    return LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )


@pytest.mark.parametrize("tied", [True, False])
def test_weights_by_hand(tied):
    shape = model_shape(config_of(tied))
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 160  # q, k and v, o, the three of the MLP
    assert shape.layer_weights == 5 * layer
    assert shape.head_weights == shape.largest == 300 * 64
    assert shape.parameters == 5 * (layer + 2 * 64) + 64 + (1 if tied else 2) * 300 * 64  # and the norms
    assert (shape.attention, shape.cached) == (64, 2 * 5 * 32)


def test_parameters_are_counted_once_where_they_are_tied():
    assert count_parameters(config_of(True)) == sum(
        p.numel() for p in LlamaForCausalLM(config_of(True)).parameters()
    )


def test_the_cache_is_what_the_model_caches():
    config = config_of(True)
    batch = torch.ones((ROWS, TOKENS), dtype=torch.long)
    cache = LlamaForCausalLM(config)(input_ids=batch, use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(config, "float32") * ROWS * TOKENS == held


def test_adapters_by_hand():
    pairs = 2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 160)
    assert adapter_parameters(config_of(True), rank=2) == 5 * 2 * pairs
