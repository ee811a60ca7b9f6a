r"""Extraction of the answer from a completion: after the last `####`, in the last `\boxed{}`, or anywhere.

Rules are tried in order, and the first whose mark is in the text decides: a box that is empty or cut off
holds no answer, whatever stood before it. So a single rule is strict, and every further rule makes the
extraction more lenient.
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
    """The part of a completion that an extraction rule selects."""

    rule: Rule
    text: str


def extract(text: str, rules: tuple[Rule, ...]) -> Extract | None:
    """Apply the first rule whose mark is in the text; `last` and `whole` need no mark."""
    for rule in rules:
        answer = _MARKED[rule](text) if rule in _MARKED else text
        if answer is not None:
            return Extract(rule, answer.strip())
    return None


def nothing(rules: tuple[Rule, ...]) -> Verdict:
    """Make the verdict on a text that has no rule's mark."""
    return Verdict(0.0, None, f"no {' or '.join(MARKS[rule] for rule in rules)} found")


def unread(extracted: Extract, what: str) -> Verdict:
    """Make the verdict on extracted text that holds no answer."""
    where = "" if extracted.rule not in MARKS else f" at the last {MARKS[extracted.rule]}"
    return Verdict(0.0, None, f"no {what} found{where}")


def _behind_hashes(text: str) -> str | None:
    """Extract the line after the last `####`."""
    _, hashes, behind = text.rpartition("####")
    return (behind.strip().splitlines() or [""])[0] if hashes else None


def _in_box(text: str) -> str | None:
    """Extract the last box; empty text if it is not closed, since its answer may be cut off."""
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
