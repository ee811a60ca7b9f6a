"""Gradients: whether all of them are finite, and their norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm


def whole_norm(module: nn.Module) -> float:
    """The norm before clipping of gradients that lie whole in the module (ZeRO takes them elsewhere)."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))


class FiniteGradients:
    """Watches every gradient as it is computed, before DeepSpeed reduces, clips or applies it.

    DeepSpeed's own norm comes too late: where gradients are partitioned it is known after they were applied.
    The norm of a tensor that holds anything infinite or NaN is not finite, and it is read in a single pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._norms: list[Tensor] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> FiniteGradients:
        self._hooks = [
            parameter.register_hook(lambda gradient: self._norms.append(vector_norm(gradient)))
            for parameter in self.module.parameters()
            if parameter.requires_grad
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def finite(self) -> bool:
        """Whether all gradients so far were finite."""
        return bool(torch.stack(self._norms).isfinite().all())
