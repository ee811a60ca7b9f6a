"""Multiple choice: a letter from A to J."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, compared
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread

# A capital letter by itself. "A" and "I" before a lower-case word are English words and no choices, unless
# they follow "is" or a colon. A lower-case letter counts only in brackets.
_LETTER = re.compile(
    r"(?<![\w\\'])(?:[B-HJ]|(?:(?<=is )|(?<=: ))[AI]|[AI](?!\s+[a-z]))(?![\w'])|(?<=\()[a-j](?=\))"
)
_SINGLE = re.compile(r"\W*([A-Ja-j])\W*", re.ASCII)


@dataclass(frozen=True)
class ChoiceVerifier:
    """Verifier of multiple choice: right if the last letter that stands by itself is the answer's."""

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "choice"
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"1:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        return None if _gold(answer) else "names no choice from A to J"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        letter, gold = _letter(extracted), _gold(answer) or ""
        return compared(letter == gold, letter, gold) if letter else unread(extracted, "choice")


def _letter(extracted: Extract) -> str | None:
    single = _SINGLE.fullmatch(extracted.text)
    letters = [single[1]] if single else _LETTER.findall(extracted.text)
    if not letters:
        return None
    return str(letters[0] if extracted.rule == "hashes" else letters[-1]).upper()


def _gold(answer: str) -> str | None:
    """Read the first letter of a gold answer, such as "(B) a text that may hold other letters"."""
    return _letter(Extract("hashes", answer.strip()))
