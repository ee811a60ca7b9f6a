"""A key-value cache with room to grow: tokens are added, and rows leave, without a copy of the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

_ROOM = 64  # tokens, at least


def growing_cache(config: PretrainedConfig, tokens: int) -> DynamicCache:
    """An empty cache for rows of at most so many tokens.

    Layers of other kinds than full attention are transformers' own.
    """
    cache = _GrowingCache(config=config)
    cache.layers = [GrowingLayer(tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class _GrowingCache(DynamicCache):
    def batch_select_indices(self, indices: Tensor) -> None:
        """Make row j what row `indices[j]` was.

        Which rows move is found out once, and where `indices` are: on the host, a GPU is not waited for.
        """
        device = self.layers[0].keys.device
        moved = [part.to(device) for part in _moved_rows(indices)]
        indices = indices.to(device)
        for layer in self.layers:
            if isinstance(layer, GrowingLayer):
                layer.select_rows(indices, *moved)
            else:
                layer.batch_select_indices(indices)


class GrowingLayer(DynamicLayer):
    """Keys and values of one attention layer, (b, heads, t, d) each; for decoding, without beams or cropping.

    transformers' layer concatenates: every step copies the states of all steps before it.
    """

    is_initialized: bool
    _grown: tuple[_Growing, _Growing]

    def __init__(self, tokens: int) -> None:
        """Make a layer for rows of at most so many tokens."""
        super().__init__()
        self.tokens = tokens

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append (b, heads, q, d) states and return all."""
        if self.is_initialized:
            for grown, states in zip(self._grown, (key_states, value_states), strict=True):
                grown.append(states)
        else:
            self._grown = _Growing(key_states, self.tokens), _Growing(value_states, self.tokens)
            self.is_initialized = True
        self.keys, self.values = (grown.used for grown in self._grown)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Make row j what row `indices[j]` was; a row that stays in its place is not copied."""
        self.select_rows(indices, *_moved_rows(indices))

    def select_rows(self, indices: Tensor, targets: Tensor, sources: Tensor) -> None:
        """Make row j what row `indices[j]` was: of them, `targets` have not been there, but in `sources`."""
        for grown in self._grown:
            if len(indices) > len(grown.used):
                grown.take(indices)
            else:
                grown.move(targets, sources, len(indices))
        self.keys, self.values = (grown.used for grown in self._grown)


def _moved_rows(indices: Tensor) -> tuple[Tensor, Tensor]:
    """Rows j whose `indices[j]` is another row, and those rows."""
    moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
    return moved, indices[moved]


class _Growing:
    """`used` (b, heads, t, d) is the first rows and tokens of a larger tensor.

    It has twice as many tokens as were there when it was made: states are copied as often as their number
    doubles. Nor has it ever more than a row may need.
    """

    used: Tensor

    def __init__(self, states: Tensor, most: int) -> None:
        self._most = most  # tokens
        self._make_room(states)

    def append(self, states: Tensor) -> None:
        rows, start, end = len(states), self.used.shape[2], self.used.shape[2] + states.shape[2]
        if end > self._room.shape[2]:
            # Only for the rows that are left: what the others held is freed.
            self._make_room(self.used, states.shape[2])
        self._room[:rows, :, start:end] = states
        self.used = self._room[:rows, :, :end]

    def take(self, indices: Tensor) -> None:
        """More rows than before."""
        self._make_room(self.used[indices])

    def move(self, targets: Tensor, sources: Tensor, rows: int) -> None:
        """As many rows as before, or fewer."""
        self.used.index_copy_(0, targets, self.used[sources])
        self.used = self.used[:rows]

    def _make_room(self, states: Tensor, more: int = 0) -> None:
        rows, heads, tokens, size = states.shape
        needed = tokens + more
        room = max(needed, min(needed + max(needed, _ROOM), self._most))
        self._room = states.new_empty(rows, heads, room, size)
        self.used = self._room[:, :, :tokens]
        self.used.copy_(states)
