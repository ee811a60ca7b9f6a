"""What came out of a dry run: counts, and the rows that a person should look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from apo_core.verifiers import Verdict
from apo_core.verifiers.base import GIVEN_UP, shortened

MAX_ERRORS = 20  # each may cost the whole time limit
FAILED = "the verifier failed"  # begins the kind of such a row
_SHOWN = 5  # doubtful rows of a kind
_LONGEST_REASON = 200  # characters
_END = 40  # characters of a gold answer that are shown


class Doubt(NamedTuple):
    """A row that a person should look at."""

    kind: str
    source: str  # file:line
    gold: str
    read: str  # the answer that was read, empty if none was; where the verifier failed, the completion
    reason: str


@dataclass
class Count:
    """What became of the attempts of one kind."""

    scored: int = 0
    rewards: float = 0.0
    right: int = 0
    """Those with the reward 1."""
    unread: int = 0
    errors: int = 0
    stopped: bool = False
    """Whether there were too many errors: what was left then counts nowhere."""

    @property
    def mean(self) -> float | None:
        """The mean reward; None where nothing was scored."""
        counted = self.scored - self.errors
        return self.rewards / counted if counted else None

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        if was_given_up(verdict):
            self.stopped = True
            return
        self.scored += 1
        self.errors += verdict.reward is None
        self.unread += verdict.reward is not None and verdict.extracted is None
        self.rewards += verdict.reward or 0.0
        self.right += verdict.reward == 1


@dataclass
class Doubts:
    """A few rows of each kind that a person should look at."""

    rows: list[Doubt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """How many there were in all, by kind."""

    def add(self, kind: str, source: str, gold: str, read: str | None, reason: str) -> None:
        """Count a row, and keep it unless there are enough of its kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= _SHOWN:
            texts = shortened(_end_of(gold)), shortened(read or "")
            self.rows.append(Doubt(kind, source, *texts, shortened(reason, _LONGEST_REASON)))


def was_given_up(verdict: Verdict) -> bool:
    """Whether the row was not tried, after too many errors."""
    return verdict.reward is None and verdict.reason.startswith(GIVEN_UP)


def _end_of(gold: str) -> str:
    """The last of a long gold answer, where its number stands."""
    return gold if len(gold) <= _END else f"...{gold[-_END:]}"
