"""The scorer that a verifier needs: this process, or a pool of them under limits of time and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from apo_core.verifiers.base import Verifier
from apo_core.verifiers.scorer import InProcess, Scorer


@contextmanager
def open_scorer(
    verifier: Verifier,
    *,
    workers: int,
    time_limit_seconds: float,
    memory_limit_mib: int,
    max_errors: int = sys.maxsize,
) -> Iterator[Scorer]:
    """A scorer for the length of a stage.

    Args:
        verifier: not loaded yet.
        workers: processes, where any are needed.
        time_limit_seconds: for one row.
        memory_limit_mib: for one process.
        max_errors: of one call; after more the rows that are left are error rows, too, and cost no time.
    """
    if verifier.bounded:
        yield InProcess(verifier)
        return
    from apo_core.verifiers.pool import PooledScorer

    scorer = PooledScorer(
        verifier,
        workers=workers,
        time_limit_seconds=time_limit_seconds,
        memory_limit_mib=memory_limit_mib,
        max_errors=max_errors,
    )
    try:
        yield scorer
    finally:
        scorer.close()
