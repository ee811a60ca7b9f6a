"""Text, equal except for case, white space, and code points that stand for the same characters."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, compared
from apo_core.verifiers.extraction import Rule, extract, nothing, unread
from apo_core.verifiers.missing import missing_problem
from apo_core.verifiers.notation import based_in_ascii, raised_in_ascii

_INVISIBLE = str.maketrans(dict.fromkeys("\u200b\u2060\ufeff\u00ad"))  # spaces without width, soft hyphen


@dataclass(frozen=True)
class ExactVerifier:
    """Verifier of text: right if completion and answer are equal after folding (NFKC, case, white space)."""

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "exact"
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"4:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        return missing_problem(answer) or (None if _fold(answer) else "is empty")

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        if not extracted.text:
            return unread(extracted, "text")
        folded = _fold(extracted.text)
        return compared(folded == _fold(answer), folded, answer)


def _fold(text: str) -> str:
    if text.isascii():
        return " ".join(text.split()).casefold()
    text = based_in_ascii(raised_in_ascii(text.translate(_INVISIBLE)))
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
