"""Attention by plain matrix products: for bfloat16 on CPU, where torch's fused attention is slow.

Its backward pass multiplies in small blocks that the processor's bfloat16 instructions do not suit: for some
hundred tokens these products take a third of its time. As there, scores and softmax are float32, no tensor of
all scores lives longer than a block, and the backward pass computes them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 2**18  # scores at once: as float32 they stay in a processor's own cache


def attention_by_products(
    query: Tensor, key: Tensor, value: Tensor, attended: Tensor | None, scaling: float
) -> Tensor:
    """softmax(query key^T scaling) value, over the positions that each query attends to.

    Args:
        query: (B, heads, T, d)
        key: (B, key heads, T, d); query heads share them in groups, one after another.
        value: (B, key heads, T, d)
        attended: (B, 1, T, T) bool; None is causal. A query that attends to nothing gets some finite state.
        scaling: of the scores.

    Returns:
        (B, heads, T, d) in the precision of its inputs.
    """
    tokens, key_heads = query.shape[2], key.shape[1]
    if attended is None:
        attended = torch.ones(1, 1, tokens, tokens, dtype=torch.bool).tril()
    bias = torch.zeros(attended.shape).masked_fill_(~attended, torch.finfo(torch.float32).min)
    groups = (part.flatten(0, 1) for part in (query.unflatten(1, (key_heads, -1)), key, value))
    output: Tensor = _Attention.apply(*groups, bias, scaling)
    return output.unflatten(0, (-1, key_heads)).flatten(1, 2)


class _Attention(torch.autograd.Function):
    """Of N = B x key heads groups: (N, g, T, d), (N, T, d), (N, T, d), (B or 1, 1, T, T) to (N, g, T, d)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaling: float) -> Tensor:
        query = query.flatten(1, 2)  # (N, g T, d)
        output = torch.empty_like(query)
        for block in _blocks(query, key):
            shares = _shares(query[block], key[block], _of_rows(bias, block, len(key)), scaling)
            torch.bmm(shares.to(value.dtype), value[block], out=output[block])
        ctx.save_for_backward(query, key, value, bias, output)
        ctx.scaling = scaling
        return output.unflatten(1, (-1, key.shape[1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias, output = ctx.saved_tensors
        gradient = gradient.flatten(1, 2)  # (N, g T, d)
        for_query, for_key, for_value = map(torch.empty_like, (query, key, value))
        mean = (gradient.float() * output).sum(-1, keepdim=True)  # (N, g T, 1)
        for block in _blocks(query, key):
            shares = _shares(query[block], key[block], _of_rows(bias, block, len(key)), ctx.scaling)
            torch.bmm(shares.to(value.dtype).mT, gradient[block], out=for_value[block])
            # The derivative of softmax: every score's gradient, less their mean under the shares.
            scores = torch.bmm(gradient[block], value[block].mT).float()  # (n, g T, T)
            scores = scores.sub_(mean[block]).mul_(shares).mul_(ctx.scaling).to(key.dtype)
            torch.bmm(scores, key[block], out=for_query[block])
            torch.bmm(scores.mT, query[block], out=for_key[block])
        return for_query.unflatten(1, (-1, key.shape[1])), for_key, for_value, None, None


def _blocks(query: Tensor, key: Tensor) -> Iterator[slice]:
    """Parts of the N groups whose scores are few enough; (N, g T, d) and (N, T, d)."""
    size = max(1, _BLOCK // (query.shape[1] * key.shape[1]))
    return (slice(start, start + size) for start in range(0, len(key), size))


def _of_rows(bias: Tensor, block: slice, groups: int) -> Tensor:
    """(B or 1, 1, T, T) to (n or 1, 1, T, T): what each of a block's groups adds to its scores."""
    if len(bias) == 1:
        return bias
    first, last = block.start, min(block.stop, groups)
    return bias[torch.arange(first, last) // (groups // len(bias))]


def _shares(query: Tensor, key: Tensor, bias: Tensor, scaling: float) -> Tensor:
    """(n, g T, d), (n, T, d) and (n or 1, 1, T, T) to (n, g T, T) float32, each row's sum is 1."""
    scores = torch.bmm(query.float(), key.float().mT).mul_(scaling)
    scores.unflatten(1, (-1, key.shape[1])).add_(bias)
    return scores.softmax(dim=-1)
