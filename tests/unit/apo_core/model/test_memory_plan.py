"""The plan against the modules themselves: what autograd really keeps, what a cache really holds."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from apo_core.model.memory_plan import Item, activation_bytes, cache_bytes, count_parameters, peak_mib

ROWS, TOKENS, LAYERS = 3, 40, 5


@pytest.fixture(scope="module")
def config():
    return LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_what_autograd_keeps(config, dtype, again):
    model = LlamaForCausalLM(config).to(getattr(torch, dtype)).train()
    if again:
        model.gradient_checkpointing_enable()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = torch.ones((ROWS, TOKENS), dtype=torch.long)
    padded = batch.clone()
    padded[0, -1] = 0  # without any padding transformers would build no mask
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=batch, attention_mask=padded, use_cache=False)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    planned = activation_bytes(config, rows=ROWS, tokens=TOKENS, dtype=dtype, gradient_checkpointing=again)
    if again:  # one layer is whole while it is computed again
        whole = activation_bytes(config, rows=ROWS, tokens=TOKENS, dtype=dtype, gradient_checkpointing=False)
        assert real < planned < real + whole / (LAYERS - 1)
    else:
        assert planned == real


def test_parameters_are_counted_once_where_they_are_tied(config):
    assert count_parameters(config) == sum(p.numel() for p in LlamaForCausalLM(config).parameters())


def test_the_cache_is_what_the_model_caches(config):
    batch = torch.ones((ROWS, TOKENS), dtype=torch.long)
    cache = LlamaForCausalLM(config)(input_ids=batch, use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(config, "float32") * ROWS * TOKENS == held


def test_rollout_and_update_are_not_in_memory_at_once():
    items = [Item("a", 5, "always"), Item("b", 3, "rollout"), Item("c", 4, "update"), Item("d", 99, "disk")]
    assert peak_mib(items) == 9
