"""A job makes shards: it samples the responses of one, and scores them while it samples the next one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar

import pandas as pd

from apo_core.system.processes import cores

Item = TypeVar("Item")
Score = Callable[[], pd.DataFrame]
"""Scores what was sampled: the rows of a shard. Called once, by another thread than the one that samples."""
Sample = Callable[[list[Item]], Score]
"""Samples responses to the items of a shard."""
Shards = Mapping[Path, list[Item]]
"""The files of missing shards, each with the items that its rows are made from."""
Keep = Callable[[Path, pd.DataFrame], None]
"""Is given every finished shard, in any order, one after another; what it raises ends the work."""


class Job(Protocol[Item]):
    """Work that a worker can do by itself; it is pickled."""

    def open(self, own_cores: int) -> AbstractContextManager[Sample[Item]]:
        """Open the engine for a worker that has so many cores; what is entered samples shards."""
        ...


class ScoringThread:
    """A thread that scores one shard at a time, while the next one is sampled."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._last: Future[None] | None = None

    def start(self, do: Callable[[], None]) -> None:
        """Have the thread do something. What it did before has to be finished: see `finish`."""
        self._last = self._thread.submit(do)

    def finish(self) -> None:
        """Wait for what was started last, and raise what it raised."""
        if self._last is not None:
            self._last.result()

    def check(self) -> None:
        """Raise what was raised already by what was started last."""
        if self._last is not None and self._last.done():
            self._last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


def make_here(job: Job[Item], shards: Shards[Item], keep: Keep) -> None:
    """Make shards in this process, one after another."""
    with job.open(cores()) as sample, ScoringThread() as scoring:
        for file, items in shards.items():
            score = sample(items)
            scoring.finish()
            scoring.start(partial(_keep_scored, keep, file, score))
        scoring.finish()


def _keep_scored(keep: Keep, file: Path, score: Score) -> None:
    keep(file, score())
