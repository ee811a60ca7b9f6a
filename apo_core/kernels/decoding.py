"""Decoding with a cache that has room to grow and products that are packed once per batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import Cache, PretrainedConfig, PreTrainedModel

from apo_core.kernels.kv_cache import growing_cache
from apo_core.kernels.linear import packed_linears
from apo_core.kernels.llama_step import LlamaStep, supports
from apo_core.model.acceleration import NextLogits


class DecodingKernels:
    """See `apo_core.model.acceleration.Decoding`."""

    def new_cache(self, config: PretrainedConfig, tokens: int) -> Cache:
        """An empty cache for rows of at most so many tokens."""
        return growing_cache(config, tokens)

    @contextmanager
    def open_step(
        self, model: PreTrainedModel, cache: Cache, rows: int, plain: NextLogits
    ) -> Iterator[NextLogits]:
        """One decoding step, with copies of the weights as they are now; `plain` where they gain nothing."""
        if supports(model, cache):
            yield LlamaStep(model, rows)
            return
        with packed_linears(model, rows):
            yield plain
