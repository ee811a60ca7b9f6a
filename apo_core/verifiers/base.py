"""The interface of a verifier: `Verifier`, and the `Verdict` that it returns."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

GIVEN_UP = "error: given up"  # begins the reason of a row that was not tried, after too many errors
_SHOWN = 60  # characters of a text in a reason


class Verdict(NamedTuple):
    """The score of one completion. A verdict without a reward is an error row: the verifier failed on it."""

    reward: float | None  # in [0, 1]
    extracted: str | None  # the answer that was read; None if none was
    reason: str  # for readers: "7 is not 8", "no number found", "error: took longer than 5 s"
    parts: dict[str, float] | None = None  # of a reward that has several: each verifier's, before weights


class Attempt(NamedTuple):
    """A response to score, with the gold answer and the source row of its prompt."""

    completion: str
    answer: str
    row: str  # JSON: all fields of the source row of the prompt
    set_name: str = ""  # of the prompt; this and the following matter to several verifiers only
    group: str | None = None  # of the prompt
    tokens: int = 0  # of the response
    max_tokens: int = 0  # where responses are cut off


class Answered(Protocol):
    """A prompt with its gold answer, as tables and files have it."""

    @property
    def answer(self) -> str:
        """The gold answer."""
        ...

    @property
    def row(self) -> str:
        """JSON of the source row."""
        ...

    @property
    def set(self) -> str:
        """The set that it belongs to."""
        ...

    @property
    def group(self) -> str | None:
        """The group that results are broken down by."""
        ...


def attempt_at(prompt: Answered, completion: str, tokens: int = 0, max_tokens: int = 0) -> Attempt:
    """Make an attempt of a response to a prompt; see `Attempt`."""
    return Attempt(completion, prompt.answer, prompt.row, prompt.set, prompt.group, tokens, max_tokens)


class Verifier(Protocol):
    """A rule that scores completions against gold answers; pickled before it is loaded."""

    @property
    def name(self) -> str:
        """The name in the configuration, `verifier.name`."""
        ...

    @property
    def version(self) -> str:
        """The version, part of the value table's fingerprint: it changes whenever a score may change."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether scoring takes time linear in the text, so that no separate process is needed."""
        ...

    @property
    def reads_row(self) -> bool:
        """Whether `score` reads the source row; if not, it gets an empty one."""
        ...

    def load(self) -> None:
        """Import what scoring needs, before the time limit of the first completion starts."""
        ...

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """Say what is wrong with a gold answer; None if completions can be scored against it."""
        ...

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """Score one completion against an answer that has no `answer_problem`."""
        ...


@runtime_checkable
class LimitsItself(Protocol):
    """A verifier that keeps the limits of time and memory itself: what breaks them is wrong, not an error."""

    def limited(self, *, time_limit_seconds: float, memory_limit_mib: int) -> Verifier:
        """Return this verifier with other limits."""
        ...


def compared(equal: bool, extracted: str, answer: str) -> Verdict:
    """Make the verdict on an answer that was read: reward 1 if it equals the gold answer, else 0."""
    relation = "equals" if equal else "is not"
    return Verdict(float(equal), extracted, f"{shortened(extracted)} {relation} {shortened(answer)}")


def advised(problem: str, name: str, compares: str) -> str:
    """Add to a gold answer's problem which other verifier to try, and what that compares."""
    return f"{problem}; try verifier.name: {name}, which compares {compares}"


def shortened(text: str, limit: int = _SHOWN) -> str:
    """Shorten text to one line of valid UTF-8, at most `limit` characters."""
    line = " ".join(text[: 4 * limit].encode("utf-8", "replace").decode().split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def quoted(text: str) -> str:
    """Quote a text in a reason, shortened."""
    return f'"{shortened(text)}"'
