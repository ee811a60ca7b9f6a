"""The form of a response: it thinks first, and then gives an answer once, where `extract` looks for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict
from apo_core.verifiers.extraction import MARKS, Rule, count, extract
from apo_core.verifiers.thinking import Tags


@dataclass(frozen=True)
class FormVerifier:
    """Verifier of the form alone, a part of a reward beside a verifier of the answer.

    Right if a thinking part comes first and is closed once, and the text behind it holds one mark of the
    first extraction rule and something in it. With `extract: [tag]` it is the format reward of DeepSeek-R1
    (arXiv 2501.12948, section 2.2.2).
    """

    rules: tuple[Rule, ...]
    tags: Tags | None
    """Around the thinking part; None asks for none."""
    opened: bool = False
    """Whether the prompts end with the opening tag."""
    name: ClassVar[str] = "form"
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"1:{','.join(self.rules)}:{json.dumps(self.tags)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; the gold answer is not read."""
        return None

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        problem, text = self._behind_thinking(completion)
        if problem is None:
            problem = self._answer_problem(text)
        extracted = extract(text, self.rules[:1])
        read = None if extracted is None or problem is not None else extracted.text
        return Verdict(float(problem is None), read, problem or "the form is as it should be")

    def _behind_thinking(self, completion: str) -> tuple[str | None, str]:
        """What is wrong with the thinking part, and the text behind it."""
        if self.tags is None:
            return None, completion
        opening, closing = self.tags
        text = completion if not self.opened else f"{opening}{completion}"
        inside, closed, behind = text.strip().removeprefix(opening).partition(closing)
        if not text.lstrip().startswith(opening):
            return f"does not begin with {opening}", completion
        if not closed or opening in inside or opening in behind or closing in behind:
            return f"has no single {opening}{closing}", behind
        return (None if inside.strip() else f"has nothing between {opening} and {closing}"), behind

    def _answer_problem(self, text: str) -> str | None:
        rule = self.rules[0]
        marks = count(text, rule)
        if marks != 1:
            return f"has {marks} of {MARKS[rule]} where there should be one"
        extracted = extract(text, (rule,))
        return None if extracted is not None and extracted.text else f"has nothing in {MARKS[rule]}"
