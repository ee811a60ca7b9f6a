"""What autograd keeps for the backward pass, observed on tensors that have shapes and no data."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PretrainedConfig


def activation_bytes(
    config: PretrainedConfig,
    *,
    rows: int,
    tokens: int,
    dtype: str,
    gradient_checkpointing: bool,
    trust_remote_code: bool = False,
) -> int:
    """Bytes that autograd keeps for the backward pass of a (rows, tokens) batch.

    Layers are alike: one and two of them are observed, and the rest follows. With gradient checkpointing
    one layer at a time is whole, the others are their inputs.
    """
    kept = partial(_kept_bytes, config, rows, tokens, dtype, trust_remote_code)
    first, both = (kept(count, again=False) for count in (1, 2))
    layer = both - first
    others = int(config.get_text_config().num_hidden_layers) - 1
    if not gradient_checkpointing:
        return first + others * layer
    first, both = (kept(count, again=True) for count in (1, 2))
    return first + others * (both - first) + layer


def _with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return config


def _kept_bytes(
    config: PretrainedConfig,
    rows: int,
    tokens: int,
    dtype: str,
    trust_remote_code: bool,
    layers: int,
    *,
    again: bool,
) -> int:
    kept: dict[int, Tensor] = {}
    # Shapes on the CPU's own kernels: on the meta device attention would keep its (T, T) matrix.
    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(
            _with_layers(config, layers),
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
        )
        model.train()
        if again:
            model.gradient_checkpointing_enable()
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in weights:
                kept[storage] = tensor
            return tensor

        batch = torch.ones((rows, tokens), dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.base_model(input_ids=batch, attention_mask=batch, use_cache=False)
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
