"""Attention of one new token a row, without copies of the keys and values that query heads share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_grouped_decoding"


@contextmanager
def grouped_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that uses "sdpa" attend by groups of heads inside the block; leave others as they are."""
    if model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(_NAME, _grouped_sdpa)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def _grouped_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls "sdpa", but heads that share keys are given as so many queries at one position.

    Args:
        module: the attention layer.
        query: (b, heads, q, d)
        key: (b, key heads, t, d)
        value: (b, key heads, t, d)
        attention_mask: (b, 1, q, t), True or 0 where a token is attended; None attends to all.
        scaling: of the scores.
        options: transformers' own, such as dropout.

    Returns:
        (b, q, heads, d), and no attention weights.
    """
    rows, heads, queries, size = query.shape
    shares = heads > key.shape[1] and queries == 1 and options.get("position_bias") is None
    if not shares:  # a prompt's many queries need the causal mask at their own positions
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return output, None
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
    attended = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, value.shape[-1]), None
