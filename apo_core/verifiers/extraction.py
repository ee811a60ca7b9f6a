r"""Extraction of the answer from a completion: after the last `####`, in the last `\boxed{}`, or anywhere.

Rules are tried in order, and the first whose mark is in the text decides: a box that is empty or cut off
holds no answer, whatever stood before it. So a single rule is strict, and every further rule makes the
extraction more lenient. A `####` that begins a heading is no mark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from apo_core.verifiers.base import Verdict
from apo_core.verifiers.brackets import closing_brace
from apo_core.verifiers.hashes import all_behind_hashes, behind_hashes

Rule = Literal["hashes", "boxed", "tag", "code", "last", "whole"]
MARKS: dict[Rule, str] = {"hashes": "####", "boxed": r"\boxed{}", "tag": "<answer></answer>", "code": "```"}

_BOX = re.compile(r"\\boxed\s*\{")
_LONGEST_JOIN = 40  # characters between two boxes
# Between boxes that are one answer: "$\boxed{3}$, $\boxed{5}$ and $x = \boxed{7}$"
_SPACE = r"(?:[\s$]|\\[,;:! ()\[\]]|\\quad|~|\*\*)*"
_JOIN = re.compile(
    rf"{_SPACE}(?:[,;\u3001\uff0c]?{_SPACE}(?:\\(?:text|mathrm|mbox)\s*\{{\s*(?:and|or)\s*\}}|\b(?:and|or)\b|\u548c|\u6216|\u3068)"
    rf"|[,;\u3001\uff0c]){_SPACE}(?:[A-Za-z](?:_\{{?\w\}}?)?\s*={_SPACE})?"
)


class Extract(NamedTuple):
    """The part of a completion that an extraction rule selects."""

    rule: Rule
    text: str


def extract(text: str, rules: tuple[Rule, ...], holds: Callable[[str], bool] = bool) -> Extract | None:
    """Apply the first rule whose mark is in the text; `last` and `whole` need no mark.

    Args:
        text: a completion.
        rules: tried in order.
        holds: whether a line behind `####` holds an answer of the verifier's kind.
    """
    for rule in rules:
        answer = _marked(text, rule, holds)
        if answer is not None:
            return Extract(rule, answer.strip())
    return None


def _marked(text: str, rule: Rule, holds: Callable[[str], bool]) -> str | None:
    if rule == "hashes":
        return behind_hashes(text, holds)
    if rule == "boxed":
        return _in_boxes(text)
    return _in_tag(text) if rule == "tag" else text


def nothing(rules: tuple[Rule, ...]) -> Verdict:
    """Make the verdict on a text that has no rule's mark."""
    return Verdict(0.0, None, f"no {' or '.join(MARKS[rule] for rule in rules)} found")


def unread(extracted: Extract, what: str) -> Verdict:
    """Make the verdict on extracted text that holds no answer."""
    where = "" if extracted.rule not in MARKS else f" at the last {MARKS[extracted.rule]}"
    return Verdict(0.0, None, f"no {what} found{where}")


def count(text: str, rule: Rule) -> int:
    """Count the answers that a rule's marks give; boxes that a comma, "and" or "or" joins are one."""
    if rule == "hashes":
        return sum(1 for _ in all_behind_hashes(text))
    if rule == "boxed":
        starts = list(_BOX.finditer(text))
        return len(starts) - sum(_joined(text, *pair) is not None for pair in itertools.pairwise(starts))
    return text.count("<answer>")


def _in_boxes(text: str) -> str | None:
    """Extract the last box, with those before it that a comma, "and" or "or" joins to it.

    The text is empty if the last box is not closed, since its answer may be cut off.
    """
    starts = list(_BOX.finditer(text))
    if not starts:
        return None
    end = closing_brace(text, starts[-1].end())
    if end is None:
        return ""
    answers = [text[starts[-1].end() : end].strip()]
    for opened, after in zip(reversed(starts[:-1]), reversed(starts[1:]), strict=True):
        end = _joined(text, opened, after)
        if end is None:
            break
        answers.insert(0, text[opened.end() : end].strip())
    return ", ".join(dict.fromkeys(answers))


def _joined(text: str, opened: re.Match[str], after: re.Match[str]) -> int | None:
    """Find where a box ends that is joined to the next; None if it is not."""
    end = closing_brace(text, opened.end(), after.start())
    if (
        end is None
        or after.start() - end > _LONGEST_JOIN
        or not _JOIN.fullmatch(text, end + 1, after.start())
    ):
        return None
    return end


def _in_tag(text: str) -> str | None:
    _, opened, behind = text.rpartition("<answer>")
    if not opened:
        return None
    inside, closed, _ = behind.partition("</answer>")
    return inside if closed else ""
