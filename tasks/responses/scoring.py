"""The configured verifier at work in a stage: what it is, how it is run, and when it has failed too often."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

from apo_core import config
from apo_core.verifiers import ErrorBudget, RowError, Scorer, Verifier, make_verifier, open_scorer


def verifier_of(verifier: config.Verifier, directory: Path) -> Verifier:
    """The verifier that the configuration names, with the user's own modules in `directory`.

    Raises:
        ApoError: it is not there.
    """
    return make_verifier(verifier.name, verifier.extract, directory.resolve())


def scorer_of(verifier: config.Verifier, directory: Path, *, rows: int) -> AbstractContextManager[Scorer]:
    """What scores with it, for as long as it is open.

    Args:
        verifier: the configuration.
        directory: of the user's own modules.
        rows: of which `verifier.max_error_share` may be errors; it does not go on after more in one call.

    Raises:
        ApoError: as `verifier_of`.
    """
    return open_scorer(
        verifier_of(verifier, directory),
        workers=verifier.workers,
        time_limit_seconds=verifier.time_limit_seconds,
        memory_limit_mib=verifier.memory_limit_mib,
        max_errors=int(verifier.max_error_share * rows),
    )


def limits_of(verifier: config.Verifier) -> dict[str, Any]:
    """What decides which rows are errors: shards made under other limits are made anew."""
    return verifier.model_dump(include={"time_limit_seconds", "memory_limit_mib"})


def spending(verifier: config.Verifier, *, rows: int) -> Callable[[pd.DataFrame], None]:
    """What holds the rows of each shard of a stage against `verifier.max_error_share`.

    Args:
        verifier: the configuration.
        rows: that the stage will score.
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
