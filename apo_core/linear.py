"""Linear layers by the product that is fastest for their shapes: on CPU, few rows times large matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

# Smaller ones are in the processor's cache, where nothing is gained.
_LARGE = 2**16  # weights


@contextmanager
def packed_linears(model: nn.Module, rows: int) -> Iterator[None]:
    """Let a model's large linear layers multiply by packed copies of their weights inside the block.

    torch gives small products to a library that packs the weights anew each time; for a decoding batch of 8
    to 32 rows that takes longer than the product itself. Without gradients, and in float32 on CPU only;
    whatever else it finds it leaves alone. The copies take the memory of the weights again.

    Args:
        model: its weights must not change inside the block.
        rows: that will be multiplied at once, most of the time.
    """
    layers = [module for module in model.modules() if type(module) is nn.Linear and _gains(module.weight)]
    try:
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
            layer.forward = partial(_product, weight=weight, bias=layer.bias)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def large_product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`nn.functional.linear` without a gradient: (M, K), (N, K) and (N,) to (M, N)."""
    product: Callable[..., Tensor] = _product if _gains(weight) else nn.functional.linear
    return product(states, weight=weight, bias=bias)


def _gains(weight: Tensor) -> bool:
    supported = weight.device.type == "cpu" and weight.dtype == torch.float32
    return supported and weight.numel() >= _LARGE and bool(torch.backends.mkldnn.is_available())


def _product(states: Tensor, *, weight: Tensor, bias: Tensor | None) -> Tensor:
    # What torch's own compiler calls.
    found: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return found
