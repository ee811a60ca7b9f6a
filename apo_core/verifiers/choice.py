"""Multiple choice: a letter from A to J."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, advised, compared, quoted
from apo_core.verifiers.choice_text import (
    labelled,
    letters_in,
    lists_options,
    marked_choice,
    named,
    unwrapped,
)
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread


@dataclass(frozen=True)
class ChoiceVerifier:
    """Verifier of multiple choice: right if the letter that a completion names is the answer's."""

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "choice"
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"3:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; the answer is one letter, with its option's text perhaps."""
        text = unwrapped(answer)
        if labelled(text) and not lists_options(text):
            return None
        letters = letters_in(text)
        if len(letters) > 1:
            problem = f"{quoted(answer)} names {len(letters)} choices"
            return advised(problem, "exact", "such lists as text")
        if letters:
            return advised(f"{quoted(answer)} is text, no letter from A to J", "exact", "text")
        return "names no choice from A to J"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(
            completion, self.rules, holds=lambda line: marked_choice(unwrapped(line)) is not None
        )
        if extracted is None:
            return nothing(self.rules)
        letter, gold = _letter(extracted), labelled(unwrapped(answer)) or ""
        return compared(letter == gold, letter, gold) if letter else unread(extracted, "choice")


def _letter(extracted: Extract) -> str | None:
    text = unwrapped(extracted.text)
    return named(text) if extracted.rule == "last" else marked_choice(text)
