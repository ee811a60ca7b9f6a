"""Load the configured verifier, open the scorer that runs it, and refuse too many errors of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd

from apo_core import config
from apo_core.verifiers import ErrorBudget, RowError, Scorer, Verifier, make_verifier, open_scorer


def verifier_of(verifier: config.Verifier, directory: Path) -> Verifier:
    """The verifier that the configuration names.

    Args:
        verifier: the configuration.
        directory: the user's own verifier modules.

    Raises:
        ApoError: there is no such verifier.
    """
    return make_verifier(verifier.name, verifier.extract, directory.resolve())


def scorer_of(verifier: config.Verifier, directory: Path, *, rows: int) -> AbstractContextManager[Scorer]:
    """The scorer that runs the configured verifier, for as long as the context is open.

    Args:
        verifier: the configuration.
        directory: the user's own verifier modules.
        rows: number of rows of which `verifier.max_error_share` may be errors; a call with more errors ends.

    Raises:
        ApoError: there is no such verifier.
    """
    return open_scorer(
        verifier_of(verifier, directory),
        workers=verifier.workers,
        time_limit_seconds=verifier.time_limit_seconds,
        memory_limit_mib=verifier.memory_limit_mib,
        max_errors=int(verifier.max_error_share * rows),
    )


def error_budget(verifier: config.Verifier, *, rows: int) -> Callable[[pd.DataFrame], None]:
    """A check that is given each shard's rows and refuses more errors than `verifier.max_error_share`.

    Args:
        verifier: the configuration.
        rows: number of rows that the stage will score.
    """
    budget = ErrorBudget(verifier.max_error_share, rows=rows)
    return lambda frame: budget.spend(row_errors(frame))


def row_errors(frame: pd.DataFrame) -> list[RowError]:
    """The rows of a table of samples or evaluations that have no reward."""
    failed = frame[frame["reward"].isna()]
    return [
        RowError(f"{prompt_id}/{index}", reason)
        for prompt_id, index, reason in zip(
            failed["prompt_id"], failed["sample_index"], failed["reason"], strict=True
        )
    ]
