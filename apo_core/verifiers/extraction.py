r"""Where in a completion the answer stands: behind the last `####`, in the last `\boxed{}`, or anywhere.

A rule with a mark decides wherever its mark is in the text: a box that is empty or cut off holds no answer,
whatever stood before it. So one rule alone is strict, and rules in order are as lenient as they are many.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from apo_core.verifiers.base import Verdict

Rule = Literal["hashes", "boxed", "tag", "last", "whole"]
MARKS: dict[Rule, str] = {"hashes": "####", "boxed": r"\boxed{}", "tag": "<answer></answer>"}

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is skipped with its backslash


class Extract(NamedTuple):
    """The part of a completion that a rule points to."""

    rule: Rule
    text: str


def extract(text: str, rules: tuple[Rule, ...]) -> Extract | None:
    """What the first rule finds whose mark is in the text; `last` and `whole` need none."""
    for rule in rules:
        answer = _MARKED[rule](text) if rule in _MARKED else text
        if answer is not None:
            return Extract(rule, answer.strip())
    return None


def nothing(rules: tuple[Rule, ...]) -> Verdict:
    """The verdict where no rule's mark is in the text."""
    return Verdict(0.0, None, f"no {' or '.join(MARKS[rule] for rule in rules)} found")


def unread(extracted: Extract, what: str) -> Verdict:
    """The verdict where a rule points to text that holds no answer."""
    where = "" if extracted.rule not in MARKS else f" at the last {MARKS[extracted.rule]}"
    return Verdict(0.0, None, f"no {what} found{where}")


def _behind_hashes(text: str) -> str | None:
    """The line behind the last mark."""
    _, hashes, behind = text.rpartition("####")
    return (behind.strip().splitlines() or [""])[0] if hashes else None


def _in_box(text: str) -> str | None:
    """Empty where the last box is not closed: its answer may be cut off."""
    start = -1
    for opened in _BOX.finditer(text):
        start = opened.end()
    if start < 0:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return text[start : brace.start()]
    return ""


def _in_tag(text: str) -> str | None:
    _, opened, behind = text.rpartition("<answer>")
    if not opened:
        return None
    inside, closed, _ = behind.partition("</answer>")
    return inside if closed else ""


_MARKED = {"hashes": _behind_hashes, "boxed": _in_box, "tag": _in_tag}
