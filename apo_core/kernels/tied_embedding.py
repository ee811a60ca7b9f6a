"""A tied embedding's gradient in one tensor: the head's, to which the input embedding adds its rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel


class HeadGradient:
    """Where the head leaves its (V, H) gradient in a backward pass, for the embedding, which comes last."""

    def __init__(self) -> None:
        self.left: Tensor | None = None

    def take(self) -> Tensor | None:
        """What the head has left, once."""
        left, self.left = self.left, None
        return left

    def is_exact(self, weight: Tensor) -> bool:
        """Whether rows may be added to a gradient of this weight one after another.

        On a GPU they would be added in another order every time, and bfloat16 would round every sum.
        """
        return bool(weight.device.type == "cpu" and weight.dtype == torch.float32)


def share_gradient(model: PreTrainedModel) -> None:
    """Let a model's input embedding take the gradient of its head, if they are tied; it has it as `of_head`.

    Autograd would make a second (V, H) tensor, mostly zeros, and add the two: of a small model with a large
    vocabulary a good part of what an update takes.
    """
    embedding, weight = model.get_input_embeddings(), model.get_output_embeddings().weight
    if embedding.weight is not weight or not _plain(embedding):
        return
    embedding.__class__ = _TiedEmbedding
    embedding.of_head = HeadGradient()


def _plain(embedding: nn.Module) -> bool:
    if type(embedding) is not nn.Embedding or embedding.max_norm is not None:
        return False
    return not (embedding.scale_grad_by_freq or embedding.sparse)


class _TiedEmbedding(nn.Embedding):
    of_head: HeadGradient

    def forward(self, input: Tensor) -> Tensor:
        self.of_head.take()  # of a backward pass that did not come to its end
        if not self.of_head.is_exact(self.weight):
            return super().forward(input)
        output: Tensor = _Rows.apply(input, self.weight, self.padding_idx, self.of_head)
        return output


class _Rows(torch.autograd.Function):
    """`nn.functional.embedding`: (...) token ids and (V, H) weights to (..., H)."""

    @staticmethod
    def forward(
        ctx: Any, token_ids: Tensor, weight: Tensor, padding_idx: int | None, of_head: HeadGradient
    ) -> Tensor:
        ctx.save_for_backward(token_ids)
        ctx.shape, ctx.padding_idx, ctx.of_head = weight.shape, padding_idx, of_head
        return nn.functional.embedding(token_ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (token_ids,) = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return None, None, None, None
        total = ctx.of_head.take()  # (V, H)
        if total is None:  # nothing of the head's was asked for
            total = gradient.new_zeros(ctx.shape)
        if ctx.padding_idx is not None:  # whose embedding learns as an output only
            gradient = gradient.masked_fill((token_ids == ctx.padding_idx)[..., None], 0.0)
        total.index_add_(0, token_ids.flatten(), gradient.flatten(0, -2))
        return None, total, None, None
