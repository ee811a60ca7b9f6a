"""The plan against the modules themselves: what autograd really keeps."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from apo_core.plan.activations import activation_bytes

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
