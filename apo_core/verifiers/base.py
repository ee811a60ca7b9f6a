"""The interface every verifier keeps, and the choice of one by name."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """A reward in [0, 1], and what was read as the answer (None where nothing was)."""

    reward: float
    extracted: str | None


class Verifier(Protocol):
    """Scores completions against answers. `version` changes whenever a score may: it is fingerprinted."""

    name: str
    version: str

    def answer_problem(self, answer: str) -> str | None:
        """What is wrong with a gold answer, or None where completions can be scored against it."""
        ...

    def score(self, completion: str, answer: str) -> Verdict:
        """Score one completion; `answer` has no `answer_problem`."""
        ...


def make_verifier(name: str) -> Verifier:
    """The verifier of that name.

    Raises:
        ValueError: there is none.
    """
    # Imported here: math-verify takes a second that the others need not pay.
    if name in ("numeric", "gsm8k"):
        from apo_core.verifiers.numeric import NumericVerifier

        return NumericVerifier(name, marker="####" if name == "gsm8k" else None)
    if name == "exact":
        from apo_core.verifiers.exact import ExactVerifier

        return ExactVerifier()
    if name == "math":
        from apo_core.verifiers.mathematics import MathVerifier

        return MathVerifier()
    raise ValueError(f"unknown verifier {name!r}")
