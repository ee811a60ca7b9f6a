"""The pool of candidate prompts: rows on disk, three numbers per prompt in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from apo_core.data.messages import text_of_turns
from apo_core.data.normal_form import normal_hash
from apo_core.data.prompts import Prompt
from apo_core.tables import PROMPTS, read_batches, write_batches

Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
_ROWS = 1000


class Pool(NamedTuple):
    """A pool of P prompts in the order of the input."""

    file: Path  # table PROMPTS
    ids: Hashes  # (P,) prompt ids as numbers
    forms: Hashes  # (P,) hashes of the normal forms: near-duplicates have the same hash
    evaluation: Mask  # (P,) True in the evaluation split

    def rows(self, chosen: Mask, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield position and columns of each chosen prompt, in order."""
        for start, batch in self.batches(chosen, columns):
            yield from zip(start.tolist(), *(batch[name].to_pylist() for name in columns), strict=True)

    def batches(
        self, chosen: Mask, columns: Iterable[str] = PROMPTS.names
    ) -> Iterator[tuple[NDArray[np.intp], pa.RecordBatch]]:
        """Yield positions and rows of the chosen prompts in batches, in order."""
        start = 0
        for batch in read_batches(self.file, list(columns)):
            inside = np.flatnonzero(chosen[start : start + batch.num_rows])
            if inside.size:
                yield inside + start, batch.take(pa.array(inside))
            start += batch.num_rows


def collect(prompts: Iterable[Prompt], file: Path) -> Pool:
    """Write a stream of prompts to a table; keep the ids, hashes and splits in memory."""
    ids, forms, evaluation = array("Q"), array("Q"), bytearray()

    def batches() -> Iterator[pa.RecordBatch]:
        stream = iter(prompts)
        while rows := list(islice(stream, _ROWS)):
            for row in rows:
                ids.append(int(row.prompt_id, 16))
                forms.append(normal_hash(text_of_turns(row.prompt)))
                evaluation.append(row.split == "eval")
            columns = [list(column) for column in zip(*rows, strict=True)]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column, field.type) for column, field in zip(columns, PROMPTS, strict=True)],
                schema=PROMPTS,
            )

    write_batches(file, batches(), PROMPTS)
    return Pool(
        file,
        np.array(ids, dtype=np.uint64),
        np.array(forms, dtype=np.uint64),
        np.array(evaluation, dtype=np.bool_),
    )


def first_of_each(hashes: Hashes, among: Mask) -> Mask:
    """Select the first prompt of each hash, among the prompts in the mask `among`."""
    positions = np.flatnonzero(among)
    _, first = np.unique(hashes[positions], return_index=True)
    chosen = np.zeros_like(among)
    chosen[positions[first]] = True
    return chosen


def choose(ids: Hashes, among: Mask, count: int | None, seed: str, unfit: Callable[[Mask], Mask]) -> Mask:
    """Choose `count` usable prompts from the mask `among`, by a seed; all of them if `count` is None.

    The prompts with the smallest hash of id and seed are chosen, so the choice does not depend on the order
    of rows, and rows that are added later replace as few prompts as possible.

    Args:
        ids: (P,) ids of all prompts.
        among: (P,) mask of the prompts to choose from.
        count: number of prompts to choose.
        seed: seed of the choice.
        unfit: returns which prompts of a mask must not be used. It may be slow, so it is called for as few
            prompts as possible.

    Raises:
        ValueError: fewer than `count` prompts are usable.
    """
    ranks = np.full(ids.shape, np.iinfo(np.uint64).max, dtype=np.uint64)
    if count is not None:
        for position in np.flatnonzero(among).tolist():
            ranks[position] = _rank(int(ids[position]), seed)
    left, fit = among.copy(), np.zeros_like(among)
    while True:
        chosen = _smallest(ranks, left, count)
        asked = chosen & ~fit
        if not asked.any():
            break
        rejected = unfit(asked)
        fit |= asked & ~rejected
        left &= ~rejected
    if count is not None and fit.sum() < count:
        raise ValueError(f"{count} prompts are asked for, there are {fit.sum()}")
    return fit


def _smallest(ranks: Hashes, among: Mask, count: int | None) -> Mask:
    if count is None:
        return among
    positions = np.flatnonzero(among)
    chosen = np.zeros_like(among)
    chosen[positions[np.argsort(ranks[positions], kind="stable")[:count]]] = True
    return chosen


def _rank(number: int, seed: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{number:016x}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
