"""Linear layers by the library that is fastest for them: on CPU, large float32 products by oneDNN.

torch gives them to a BLAS that has narrower instructions for some processors (it is half as fast there) and
that packs the weights anew for every small product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from apo_core.model.acceleration import Product

# Smaller ones are in the processor's cache, where nothing is gained.
_LARGE = 2**16  # weights


def quick_linears(model: nn.Module) -> None:
    """Let a model's linear layers multiply by `product_for` their weights, forward and backward, from now on.

    Every call chooses the product anew: an engine may change the layers' precision, or take their weights
    away between calls.
    """
    for module in model.modules():
        if is_linear(module):
            module.__class__ = _QuickLinear


@contextmanager
def packed_linears(model: nn.Module, rows: int) -> Iterator[None]:
    """Let a model's large linear layers multiply by packed copies of their weights inside the block.

    Without gradients, and on CPU only, in bfloat16 where the processor computes with it; whatever else it
    finds it leaves alone. The copies take the memory of the weights again.

    Args:
        model: its weights must not change inside the block.
        rows: that will be multiplied at once, most of the time.
    """
    layers = [module for module in model.modules() if is_linear(module) and _is_packed(module.weight)]
    try:
        for layer in layers:
            layer.forward = merged_product([layer], rows)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def merged_product(layers: Sequence[nn.Linear], rows: int) -> Callable[[Tensor], Tensor]:
    """The outputs of linear layers side by side, by one product with copies of their weights.

    For a decoding batch of 8 to 32 rows packing anew takes longer than the product itself.

    Args:
        layers: with equal inputs; all have a bias, or none has.
        rows: that will be multiplied at once, most of the time.

    Returns:
        (..., K) to (..., N), without a gradient.
    """
    weight, bias = layers[0].weight.detach(), layers[0].bias
    if len(layers) > 1:
        weight = torch.cat([layer.weight.detach() for layer in layers])
        bias = None if bias is None else torch.cat([layer.bias.detach() for layer in layers])
    if not _is_packed(weight):
        return partial(nn.functional.linear, weight=weight, bias=bias)
    return partial(_product, weight=torch.ops.mkldnn._reorder_linear_weight(weight, rows), bias=bias)


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a plain linear layer, `quick_linears` or not, and nothing that was made of one."""
    return type(module) in (nn.Linear, _QuickLinear)


def product_for(weight: Tensor) -> Product:
    """The fastest `nn.functional.linear` without a gradient for products with this weight, or for its own."""
    return _product if _is_faster(weight) else nn.functional.linear


def can_pack(dtype: torch.dtype, device: str) -> bool:
    """Whether `packed_linears` packs weights of this precision on a device of this type."""
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _is_packed(weight: Tensor) -> bool:
    return weight.numel() >= _LARGE and can_pack(weight.dtype, weight.device.type)


def _is_faster(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and _is_packed(weight)


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # What torch's own compiler calls.
    output: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return output


class _QuickLinear(nn.Linear):
    """What a layer becomes: its weights, its name and its hooks stay as they are."""

    product_for = staticmethod(product_for)

    def forward(self, input: Tensor) -> Tensor:
        if not (_is_faster(self.weight) and input.numel()):
            return nn.functional.linear(input, self.weight, self.bias)
        output: Tensor = _Product.apply(input, self.weight, self.bias)
        return output


class _Product(torch.autograd.Function):
    """`nn.functional.linear`: (..., K), (N, K) and (N,) to (..., N)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states if weight.requires_grad else None)
        ctx.weight = weight  # not saved: ZeRO-3 takes its data away and brings it back
        return _product(states, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, (states,) = ctx.weight, ctx.saved_tensors
        for_states, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])  # (M, N)
        return (
            _product(gradient, weight.t(), None) if for_states else None,
            _product(rows.t(), states.reshape(-1, states.shape[-1]).t(), None) if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )
