"""The interface every verifier keeps."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

_SHOWN = 60  # characters of a text in a reason


class Verdict(NamedTuple):
    """What came of scoring one completion. Without a reward it is an error row, which nobody scored."""

    reward: float | None  # in [0, 1]
    extracted: str | None  # what was read as the answer, where something was
    reason: str  # for people: "7 is not 8", "no number found", "error: took longer than 5 s"


class Attempt(NamedTuple):
    """What a verifier is shown of one response."""

    completion: str
    answer: str
    row: str  # JSON: all fields of the row that the prompt comes from


class Verifier(Protocol):
    """Scores completions against answers; it is pickled before it is loaded."""

    @property
    def name(self) -> str:
        """As in the configuration."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever a score may: it is part of the value table's fingerprint."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether the time it takes is linear in the text, so that it needs no process of its own."""
        ...

    @property
    def reads_row(self) -> bool:
        """Whether it wants the source row; others are given an empty one."""
        ...

    def load(self) -> None:
        """Import what scoring needs, before the clock of the first completion runs."""
        ...

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """What is wrong with a gold answer, or None where completions can be scored against it."""
        ...

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """Score one completion; `answer` has no `answer_problem`."""
        ...


def compared(equal: bool, extracted: str, answer: str) -> Verdict:
    """The verdict on an answer that was read."""
    relation = "equals" if equal else "is not"
    return Verdict(float(equal), extracted, f"{shortened(extracted)} {relation} {shortened(answer)}")


def shortened(text: str, limit: int = _SHOWN) -> str:
    """One line of text that a table can hold, cut where it is long."""
    line = " ".join(text[: 4 * limit].encode("utf-8", "replace").decode().split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
