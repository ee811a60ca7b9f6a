"""The only importer of `apo_core.kernels`: without that folder everything runs, more slowly on CPU."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from transformers import PreTrainedModel


def accelerate(model: PreTrainedModel) -> None:
    """Give a model the CPU kernels; again after layers were added to it."""
    if _have_kernels():
        from apo_core.kernels.install import install

        install(model)


def packs_weights(dtype: torch.dtype, device: str) -> bool:
    """Whether decoding holds packed copies of weights of this precision on a device of this type."""
    if not _have_kernels():
        return False
    from apo_core.kernels.linear import can_pack

    return can_pack(dtype, device)


@cache
def _have_kernels() -> bool:
    return find_spec("apo_core.kernels") is not None
