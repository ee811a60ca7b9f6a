"""A verifier that says how long each score took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from apo_core.verifiers.base import Verdict
from apo_core.verifiers.wrapped import Wrapped

SECONDS = "seconds"  # the part of a verdict that holds the time


@dataclass(frozen=True)
class Timed(Wrapped):
    """A verifier whose verdicts carry the seconds that each took, as the part `seconds`.

    For looking at a verifier only: verdicts of stages do not depend on the time.
    """

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        started = time.perf_counter()
        verdict = self.verifier.score(completion, answer, row)
        return verdict._replace(parts={SECONDS: time.perf_counter() - started})
