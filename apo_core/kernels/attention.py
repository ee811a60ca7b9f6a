"""The attention that is fastest for a shape: head groups while decoding, plain products for short texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from apo_core.kernels.attention_products import attention_by_products
from apo_core.kernels.linear import can_pack

_NAME = "sdpa_by_shape"
_SHORT = 384  # tokens; from about 500 on torch's own is faster than plain products


def quick_attention(model: PreTrainedModel) -> None:
    """Let a model that uses "sdpa" attend by its inputs' shapes from now on; leave others as they are."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, _mask)
        model.set_attn_implementation(_NAME)


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    **options: Any,
) -> Tensor | None:
    """What transformers calls "sdpa", which decides whether a mask is needed.

    While decoding, a mask that is given is used unread: to look for padding in it would be to wait for a GPU
    at every token, and `decode` gives none where there is no padding.
    """
    skip = allow_is_causal_skip and (attention_mask is None or q_length > 1)
    mask: Tensor | None = sdpa_mask(
        batch_size, q_length, kv_length, attention_mask=attention_mask, allow_is_causal_skip=skip, **options
    )
    return mask


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls "sdpa".

    Args:
        module: the attention layer.
        query: (b, heads, q, d)
        key: (b, key heads, t, d)
        value: (b, key heads, t, d)
        attention_mask: (b, 1, q, t), True or 0 where a token is attended; None is causal.
        scaling: of the scores.
        options: transformers' own, such as dropout.

    Returns:
        (b, q, heads, d), and no attention weights.
    """
    special = options.get("dropout") or options.get("position_bias") is not None
    if not special and query.shape[2] == 1 and query.shape[1] > key.shape[1]:
        return attend_one_query(query, key, value, attention_mask, scaling), None
    if not special and _supports_products(module, query, key, value, attention_mask):
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attention_by_products(query, key, value, attention_mask, scaling).transpose(1, 2), None
    if not special and _needs_copies(module, query, key, attention_mask):
        copies = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(copies, dim=1) for states in (key, value))
        attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    return output, None


def attend_one_query(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Attention of one new token a row, without copies of the keys and values that query heads share.

    Those heads are given as so many queries at one position.

    Args:
        query: (b, heads, 1, d)
        key: (b, key heads, t, d)
        value: (b, key heads, t, d)
        attention_mask: (b, 1, 1, t), True or 0 where a token is attended; None attends to all.
        scaling: of the scores; None is 1 / sqrt(d).

    Returns:
        (b, 1, heads, d)
    """
    rows, heads, _, size = query.shape
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
    attended = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, value.shape[-1])


def _needs_copies(module: nn.Module, query: Tensor, key: Tensor, attention_mask: Tensor | None) -> bool:
    """Whether causal attention needs copies of the keys and values that query heads share.

    Fused kernels take shared ones, except that of float32 on GPUs in some versions of torch
    (`can_use_mem_efficient_attention` in aten/src/ATen/native/transformers/cuda/sdp_utils.cpp); what is left
    then would hold all scores at once.
    """
    causal = attention_mask is None and getattr(module, "is_causal", True)
    unshared = query.device.type == "cuda" and query.dtype == torch.float32
    return unshared and causal and query.shape[1] > key.shape[1] and 1 < query.shape[2] == key.shape[2]


def _supports_products(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None
) -> bool:
    tokens = query.shape[2]
    masked = attention_mask is not None and attention_mask.dtype == torch.bool
    causal = attention_mask is None and getattr(module, "is_causal", True)
    return (
        query.dtype == torch.bfloat16
        and can_pack(query.dtype, query.device.type)
        and 1 < tokens == key.shape[2] <= _SHORT
        and value.shape == key.shape
        and (masked or causal)
    )
