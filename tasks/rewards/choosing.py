"""Choose a few of a stream of prompts, without holding the others."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from apo_core.data.prompts import Prompt


@dataclass
class Chosen:
    """Some prompts, and what there is in all."""

    prompts: list[Prompt] = field(default_factory=list)
    """No two alike, in the order of their files."""
    rows: int = 0
    """Rows that there are in all."""
    kinds: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """Set and group of all prompts, with the source of the first."""
    asked: dict[str, Prompt] = field(default_factory=dict)
    """Those that were asked for, by id."""


def choose(prompts: Iterable[Prompt], most: int, asked: Collection[str] = ()) -> Chosen:
    """Take at most so many of the prompts: those with the smallest ids.

    An id is a hash of the text, so that every prompt has the same chance, and the same ones are taken every
    time, in whatever order their files are.

    Args:
        prompts: are read once.
        most: that are taken.
        asked: ids of prompts that are kept beside those.
    """
    chosen = Chosen()
    heap: list[tuple[int, int, Prompt]] = []  # the largest id first, then the number of the row
    taken: set[int] = set()
    for prompt in prompts:
        chosen.rows += 1
        chosen.kinds.setdefault((prompt.set, prompt.group), prompt.source)
        if prompt.prompt_id in asked:
            chosen.asked.setdefault(prompt.prompt_id, prompt)
        key = -int(prompt.prompt_id, 16)
        if key in taken or (len(heap) == most and key < heap[0][0]):
            continue
        heapq.heappush(heap, (key, chosen.rows, prompt))
        taken.add(key)
        if len(heap) > most:
            taken.remove(heapq.heappop(heap)[0])
    chosen.prompts = [prompt for _, _, prompt in sorted(heap, key=lambda entry: entry[1])]
    return chosen
