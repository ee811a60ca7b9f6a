"""Log-probabilities from hidden states, with the vocabulary-wide logits of a few tokens at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from apo_core.model.acceleration import Product, ProductFor, SharedGradient, product_of

_CHUNK_TOKENS = {"cpu": 256, "cuda": 2048}


def chunk_tokens_on(device: str) -> int:
    """Tokens whose logits exist at once on a device of this type.

    On a processor as many as suit its caches. A GPU's products are whole with thousands, and every chunk
    passes over a head's gradient, which is of the vocabulary's size, once more.
    """
    return _CHUNK_TOKENS.get(device, _CHUNK_TOKENS["cpu"])


class HeadLogProbs(nn.Module):
    """An output embedding that answers with ln pi(token) instead of logits.

    A module that names the weights as its own: ZeRO-3 hands a module's weights over once a call, so ranks
    with unequal numbers of tokens take part in equally many exchanges.
    """

    def __init__(
        self,
        head: nn.Linear,
        *,
        temperature: float,
        chunk_tokens: int | None = None,
        shared: SharedGradient | None = None,
    ) -> None:
        """Take over a model's output embedding, with the products it has.

        Args:
            head: the output embedding.
            temperature: of the log-probs.
            chunk_tokens: whose logits exist at once; None as many as suit the device.
            shared: of the same model.
        """
        super().__init__()
        self.weight = head.weight
        self.bias = head.bias
        self.temperature = temperature
        self.chunk_tokens = chunk_tokens
        self.shared = shared
        self.product_for = product_of(head)

    def forward(self, states: Tensor, targets: Tensor) -> Tensor:
        """(M, H) states and (M,) targets to (M,) float32 log-probabilities at the temperature."""
        shared = self.shared if self.shared is not None and self.shared.is_exact(self.weight) else None
        log_probs: Tensor = _ChunkedLogProbs.apply(
            states,
            self.weight,
            self.bias,
            targets,
            self.temperature,
            self.chunk_tokens or chunk_tokens_on(states.device.type),
            shared,
            self.product_for,
        )
        return log_probs


class _ChunkedLogProbs(torch.autograd.Function):
    """ln softmax(states weight^T / temperature) at the targets; the backward pass computes the logits again.

    With p the softmax and g the gradient of a token's log-prob, the gradient of its logits is
    g (onehot - p) / temperature.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_tokens: int,
        shared: SharedGradient | None,
        product_for: ProductFor,
    ) -> Tensor:
        log_probs = states.new_empty(len(states), dtype=torch.float32)  # (M,)
        normalisers = torch.empty_like(log_probs)  # (M,)
        multiply = product_for(weight)
        for rows in _chunks(len(states), chunk_tokens):
            logits = _logits(multiply, states[rows], weight, bias, temperature)  # (m, V)
            normalisers[rows] = logits.logsumexp(dim=-1)
            log_probs[rows] = logits.gather(-1, targets[rows, None])[:, 0] - normalisers[rows]
        ctx.save_for_backward(states, targets, normalisers)
        ctx.weight, ctx.bias = weight, bias  # not saved: ZeRO-3 takes their data away and brings it back
        ctx.temperature, ctx.chunk_tokens, ctx.shared = temperature, chunk_tokens, shared
        ctx.product_for = product_for
        return log_probs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, targets, normalisers = ctx.saved_tensors
        weight, bias = ctx.weight, ctx.bias
        learns, multiply = weight.requires_grad, ctx.product_for(weight)
        for_states = torch.empty_like(states)  # (M, H)
        for_weight: Tensor | None = None  # (V, H)
        for_bias = (
            torch.zeros_like(bias, dtype=torch.float32) if learns and bias is not None else None
        )  # (V,)
        chunks = _chunks(len(states), ctx.chunk_tokens)
        for rows in chunks:
            logits = _logits(multiply, states[rows], weight, bias, ctx.temperature)  # (m, V)
            scale = gradient[rows, None] / ctx.temperature  # (m, 1)
            for_logits = logits.sub_(normalisers[rows, None]).exp_().mul_(-scale)  # (m, V)
            for_logits.scatter_add_(-1, targets[rows, None], scale)
            if for_bias is not None:
                for_bias += for_logits.sum(dim=0)
            for_logits = for_logits.to(states.dtype)
            for_states[rows] = multiply(for_logits, weight.t(), None)
            if learns:
                product = multiply(for_logits.t(), states[rows].t(), None)  # (V, H)
                if for_weight is not None:
                    for_weight += product
                else:  # summed over chunks in float32, whatever the weights are in
                    for_weight = product.float() if len(chunks) > 1 else product
        if learns and for_weight is None:  # no tokens; ranks that share weights wait for a gradient
            for_weight = torch.zeros_like(weight)
        if ctx.shared is not None:
            ctx.shared.left, for_weight = for_weight, None
        return (
            for_states,
            None if for_weight is None else for_weight.to(weight.dtype),
            None if for_bias is None else for_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
            None,
        )


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _logits(
    multiply: Product, states: Tensor, weight: Tensor, bias: Tensor | None, temperature: float
) -> Tensor:
    """(m, V) in float32, free to be changed in place."""
    logits = multiply(states, weight, bias).float()
    return logits if temperature == 1.0 else logits.div_(temperature)
