"""What autograd keeps for the backward pass, observed on tensors that have shapes and no data."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from apo_core.model.causality import is_causal

_PLANNED = "sdpa_as_planned"


def activation_bytes(
    config: PretrainedConfig,
    *,
    rows: int,
    tokens: int,
    dtype: str,
    gradient_checkpointing: bool,
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> int:
    """Bytes that autograd keeps for the backward pass of a (rows, tokens) batch.

    Layers are alike: one and two of them are observed, and the rest follows. With gradient checkpointing
    one layer at a time is whole, the others are their inputs.

    Args:
        config: of the model.
        rows: in the batch.
        tokens: in each row.
        dtype: that the model computes in.
        gradient_checkpointing: whether layers are computed again in the backward pass.
        attention: as `train.attention`; "eager" keeps (T, T) matrices, fused attention none.
        trust_remote_code: run the Python that comes with the model.
    """
    kept = partial(_kept_bytes, config, rows, tokens, dtype, attention, trust_remote_code)
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


def _attend_as_in_training(model: PreTrainedModel) -> None:
    """Without a mask where transformers makes none of tensors that have data.

    What float32 on GPUs copies of keys that query heads share (`apo_core.kernels.attention`) is left out.
    """
    AttentionInterface.register(_PLANNED, sdpa_attention_forward)
    AttentionMaskInterface.register(_PLANNED, _mask)
    model.set_attn_implementation(_PLANNED)


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    **options: Any,
) -> Tensor | None:
    """The mask of a window that is shorter than the text; plainly causal attention has none."""
    if allow_is_causal_skip and (local_size is None or kv_length < local_size):
        return None
    mask: Tensor | None = sdpa_mask(
        batch_size, q_length, kv_length, local_size=local_size, allow_is_causal_skip=False, **options
    )
    return mask


def _kept_bytes(
    config: PretrainedConfig,
    rows: int,
    tokens: int,
    dtype: str,
    attention: str | None,
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
            # Flash attention keeps what torch's own fused attention keeps, which needs no GPU to be observed.
            # transformers takes that one unless the architecture has none.
            attn_implementation="eager" if attention == "eager" else None,
            trust_remote_code=trust_remote_code,
        )
        if model.config._attn_implementation == "sdpa" and is_causal(model):
            _attend_as_in_training(model)
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
