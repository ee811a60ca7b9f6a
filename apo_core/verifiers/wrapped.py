"""A verifier around another one: everything but `score` is the inner one's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from apo_core.verifiers.base import LimitsItself, Verdict, Verifier


@dataclass(frozen=True)
class Wrapped:
    """Base of a verifier that changes what another one is given, or what it says."""

    verifier: Verifier

    @property
    def name(self) -> str:
        """See `Verifier`."""
        return self.verifier.name

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return self.verifier.version

    @property
    def bounded(self) -> bool:
        """See `Verifier`."""
        return self.verifier.bounded

    @property
    def reads_row(self) -> bool:
        """See `Verifier`."""
        return self.verifier.reads_row

    @property
    def directory(self) -> Path | None:
        """Where a user's own verifier is, so that errors can name its lines."""
        return getattr(self.verifier, "directory", None)

    def around(self, verifier: Verifier) -> Self:
        """Return the same around another verifier."""
        return dataclasses.replace(self, verifier=verifier)

    def load(self) -> None:
        """See `Verifier`."""
        self.verifier.load()

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        return self.verifier.answer_problem(answer, row)

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        return self.verifier.score(completion, answer, row)


def with_own_limits(
    verifier: Verifier, *, time_limit_seconds: float, memory_limit_mib: int
) -> Verifier | None:
    """Return the verifier with those limits; None if it does not keep any itself, nor one that it wraps."""
    if isinstance(verifier, LimitsItself):
        return verifier.limited(time_limit_seconds=time_limit_seconds, memory_limit_mib=memory_limit_mib)
    if not isinstance(verifier, Wrapped):
        return None
    inner = with_own_limits(
        verifier.verifier, time_limit_seconds=time_limit_seconds, memory_limit_mib=memory_limit_mib
    )
    return None if inner is None else verifier.around(inner)
