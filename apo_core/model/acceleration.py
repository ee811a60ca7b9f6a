"""The seam to the CPU kernels: the only importer of `apo_core.kernels`, and what stands in their place.

Without that folder everything runs, more slowly on CPU. Who reads the code for GPUs need read neither.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PretrainedConfig, PreTrainedModel

# (..., K) states, (N, K) weight and (N,) bias or None to (..., N)
Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
ProductFor = Callable[[Tensor], Product]  # by the weight


class SharedGradient(Protocol):
    """Where the head leaves its (V, H) gradient for an input embedding that has the same weights."""

    left: Tensor | None

    def is_exact(self, weight: Tensor) -> bool:
        """Whether the embedding takes it for this weight."""
        ...


# (b, 1) new tokens, (b, t) mask of old and new or None for no padding, (b, 1) positions, and what the cache
# keeps, to (b, V)
NextLogits = Callable[[Tensor, Tensor | None, Tensor, Cache], Tensor]


class Decoding(Protocol):
    """How a model decodes: by kernels, where it was loaded with them, or by transformers alone."""

    def new_cache(self, config: PretrainedConfig, tokens: int) -> Cache:
        """An empty cache for rows of at most so many tokens; it selects rows by indices on the host."""
        ...

    def open_step(
        self, model: PreTrainedModel, cache: Cache, rows: int, plain: NextLogits
    ) -> AbstractContextManager[NextLogits]:
        """One decoding step of about so many rows; the weights must not change while it is open."""
        ...


class PlainDecoding:
    """By transformers alone."""

    def new_cache(self, config: PretrainedConfig, tokens: int) -> Cache:
        """See `Decoding`."""
        return DynamicCache(config=config)

    def open_step(
        self, model: PreTrainedModel, cache: Cache, rows: int, plain: NextLogits
    ) -> AbstractContextManager[NextLogits]:
        """See `Decoding`."""
        return nullcontext(plain)


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


def decoding_of(model: PreTrainedModel) -> Decoding:
    """How the model decodes: by the kernels it was loaded with, or plainly."""
    decoding: Decoding = getattr(model, "decoding_kernels", None) or PlainDecoding()
    return decoding


def product_of(head: nn.Linear) -> ProductFor:
    """How products with an output embedding's weight are made: as the kernels chose, or plainly."""
    product: ProductFor = getattr(head, "product_for", lambda weight: nn.functional.linear)
    return product


def large_product(weight: Tensor) -> Product:
    """How products with a large weight are made in a model that was loaded with the kernels."""
    product: Product = nn.functional.linear
    if _have_kernels():
        from apo_core.kernels.linear import product_for

        product = product_for(weight)
    return product
