"""A key-value cache with room to grow: tokens are added, and rows leave, without a copy of the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

_ROOM = 64  # tokens; a cache is copied once as many steps


def growing_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache for a model; layers of other kinds than full attention are transformers' own."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class GrowingLayer(DynamicLayer):
    """Keys and values of one attention layer, (b, heads, t, d) each; for decoding, without beams or cropping.

    transformers' layer concatenates: every step copies the states of all steps before it.
    """

    is_initialized: bool
    _grown: tuple[_Growing, _Growing]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append (b, heads, q, d) states and return all."""
        if self.is_initialized:
            for grown, states in zip(self._grown, (key_states, value_states), strict=True):
                grown.append(states)
        else:
            self._grown = _Growing(key_states), _Growing(value_states)
            self.is_initialized = True
        self.keys, self.values = (grown.used for grown in self._grown)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Make row j what row `indices[j]` was; a row that stays in its place is not copied."""
        for grown in self._grown:
            grown.select(indices)
        self.keys, self.values = (grown.used for grown in self._grown)


class _Growing:
    """`used` (b, heads, t, d) is the first rows and tokens of a larger tensor."""

    used: Tensor

    def __init__(self, states: Tensor) -> None:
        self._make_room(states)

    def append(self, states: Tensor) -> None:
        rows, start, end = len(states), self.used.shape[2], self.used.shape[2] + states.shape[2]
        if end > self._room.shape[2]:
            # Only for the rows that are left: what the others held is freed.
            self._make_room(self.used, states.shape[2])
        self._room[:rows, :, start:end] = states
        self.used = self._room[:rows, :, :end]

    def select(self, indices: Tensor) -> None:
        if len(indices) > len(self.used):
            self._make_room(self.used[indices])
            return
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        self.used.index_copy_(0, moved, self.used[indices[moved]])
        self.used = self.used[: len(indices)]

    def _make_room(self, states: Tensor, more: int = 0) -> None:
        rows, heads, tokens, size = states.shape
        self._room = states.new_empty(rows, heads, tokens + more + _ROOM, size)
        self.used = self._room[:, :, :tokens]
        self.used.copy_(states)
