"""The thinking part of a response, which is no answer: what stands before the last closing tag."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from apo_core.verifiers.base import Verdict
from apo_core.verifiers.wrapped import Wrapped

Thinking = Literal["drop", "keep"]
Tags = tuple[str, str]
TAGS: Tags = ("<think>", "</think>")


def tags_problem(tags: Tags) -> str | None:
    """Say why two tags cannot mark a thinking part; None if they can."""
    opening, closing = tags
    if not opening.strip() or not closing.strip():
        return "must be two tags that are not empty, as [<think>, </think>]"
    return "must be two different tags, as [<think>, </think>]" if opening == closing else None


def without_thinking(text: str, tags: Tags, *, opened: bool = False) -> str | None:
    """Drop the thinking part of a response.

    Args:
        text: the response.
        tags: what opens and what closes a thinking part.
        opened: whether the prompt ends with the opening tag, so that the response begins inside.

    Returns:
        What stands behind the last closing tag; None where a thinking part is not closed.
    """
    opening, closing = tags
    _, closed, answer = text.rpartition(closing)
    if opening in answer or (opened and not closed):
        return None
    return answer


@dataclass(frozen=True)
class WithoutThinking(Wrapped):
    """A verifier that another one is given completions by, their thinking parts dropped."""

    tags: Tags = TAGS
    opened: bool = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"{self.verifier.version}:without {json.dumps(self.tags)}"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`; a thinking part that is not closed has no answer."""
        text = without_thinking(completion, self.tags, opened=self.opened)
        if text is None:
            return Verdict(0.0, None, f"no answer: the thinking part is not closed by {self.tags[1]}")
        return self.verifier.score(text, answer, row)
