"""Models with random weights, the same on every device, whose next token depends on all tokens before it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

VOCABULARY = 1000
_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
}


def tiny_model(seed: int = 0) -> PreTrainedModel:
    """A float32 Llama on the CPU, in evaluation mode, with weights so large that it prefers some tokens."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**_TINY))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(3)
    return model.eval()


def on_device(model: PreTrainedModel, device: str, dtype: str = "float32") -> PreTrainedModel:
    """A copy on a device, as the project loads models there."""
    from apo_core.model.acceleration import accelerate

    copied = copy.deepcopy(model).to(device, getattr(torch, dtype)).eval()
    accelerate(copied)
    return copied


def random_rows(rows: int, *, shortest: int, longest: int, seed: int = 0) -> list[list[int]]:
    """Token ids of unequal lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (rows,), generator=generator).tolist()
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
