"""The choice of a scorer: in this process, or in a pool of processes with limits of time and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from apo_core.verifiers.base import Verifier
from apo_core.verifiers.scorer import InProcess, Scorer
from apo_core.verifiers.wrapped import with_own_limits

_BACKSTOP_SECONDS = 60.0  # beyond the limit that a verifier keeps itself, after which it must have failed


@contextmanager
def open_scorer(
    verifier: Verifier,
    *,
    workers: int,
    time_limit_seconds: float,
    memory_limit_mib: int,
    max_errors: int = sys.maxsize,
) -> Iterator[Scorer]:
    """Open the scorer that a verifier needs, and close it at the end of the block.

    Args:
        verifier: not loaded yet.
        workers: number of processes of a pool.
        time_limit_seconds: time limit per row.
        memory_limit_mib: memory limit per process.
        max_errors: most error rows per call; after more, the remaining rows become errors unscored.
    """
    if verifier.bounded:
        yield InProcess(verifier)
        return
    from apo_core.verifiers.pool import PooledScorer

    limited = with_own_limits(
        verifier, time_limit_seconds=time_limit_seconds, memory_limit_mib=memory_limit_mib
    )
    if limited is not None:
        verifier = limited
        time_limit_seconds += _BACKSTOP_SECONDS
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
