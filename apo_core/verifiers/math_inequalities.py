r"""Inequalities and sets of one variable as intervals: "x<-1 or x>1", "3\ge x\ge-2", "\{x\mid 2\le x<5\}"."""

from __future__ import annotations

import re
from typing import NamedTuple

_RELATION = re.compile(r"\s*(\\(?:leqslant|leqq|leq|le|lt|geqslant|geqq|geq|ge|gt)(?![A-Za-z])|<=|>=|<|>)\s*")
_OR = re.compile(r"\s*(?:\\text\s*\{\s*or\s*\}|(?<![A-Za-z])or(?![A-Za-z])|\\lor|\\vee|\\cup)(?![A-Za-z])\s*")
_VARIABLE = re.compile(r"[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi)")
_SET = re.compile(
    r"\\(?:left)?\\?\{\s*(?P<name>[A-Za-z])\s*(?:\\mid|\||:|\\colon)\s*(?P<condition>.*?)\\(?:right\\)?\}"
)
_MEMBER = re.compile(r"^\s*[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_SIZES = re.compile(r"\\(?:left|right)(?=[()\[\]])")
_INTERVAL = re.compile(r"[(\[][^()\[\],]+,[^()\[\],]+[)\]]")
# What math-verify does not compare with an interval itself: "or", a set, two falling relations
_REWRITTEN = re.compile(rf"{_OR.pattern}|\\\{{|\\lbrace|(?:>|\\g(?:e|t)).*(?:>|\\g(?:e|t))", re.DOTALL)
_LONGEST = 200  # characters


class Region(NamedTuple):
    """Intervals of a variable; the variable is None where a text names none."""

    variable: str | None
    intervals: tuple[str, ...]

    @property
    def latex(self) -> str:
        """The union of the intervals."""
        return r" \cup ".join(self.intervals)


def needs_rewriting(text: str) -> bool:
    """Whether math-verify cannot compare inequalities as they are written."""
    return _REWRITTEN.search(text) is not None


def region(text: str) -> Region | None:
    """Read a text that is inequalities of one variable, or intervals; None for any other."""
    if len(text) > _LONGEST or not ("," in text or _RELATION.search(text)):
        return None
    described = _SET.fullmatch(text.strip())
    text = _SIZES.sub("", described["condition"] if described else _MEMBER.sub("", text))
    parts = [_part(part) for part in _OR.split(text)]
    read = [part for part in parts if part]
    variables = {part.variable for part in read}
    if len(read) != len(parts) or len(variables) != 1 or (described and variables != {described["name"]}):
        return None
    return Region(variables.pop(), tuple(part.intervals[0] for part in read))


def _part(text: str) -> Region | None:
    text = text.strip().rstrip(".")
    if _INTERVAL.fullmatch(text):
        return Region(None, (text,))
    terms = [term.strip() for term in _RELATION.split(text)]
    sides, relations = terms[::2], terms[1::2]
    names = [number for number, side in enumerate(sides) if _VARIABLE.fullmatch(side)]
    if len(names) != 1 or not all(sides) or len({_rises(relation) for relation in relations}) != 1:
        return None
    if not _rises(relations[0]):
        sides, relations = sides[::-1], relations[::-1]
    index = len(sides) - 1 - names[0] if not _rises(terms[1]) else names[0]
    if len(sides) == 2:
        interval = _from_below(sides, relations, index)
    elif len(sides) == 3 and index == 1:
        interval = f"{_open(relations[0])}{sides[0]},{sides[2]}{_close(relations[1])}"
    else:
        return None
    return Region(sides[index], (interval,))


def _from_below(sides: list[str], relations: list[str], index: int) -> str:
    """Write "x < 5" or "5 < x", with the smaller side first, as an interval."""
    if index == 0:
        return rf"(-\infty,{sides[1]}{_close(relations[0])}"
    return rf"{_open(relations[0])}{sides[0]},\infty)"


def _rises(relation: str) -> bool:
    return relation.startswith(("<", r"\l"))


def _is_strict(relation: str) -> bool:
    return relation in ("<", ">", r"\lt", r"\gt")


def _open(relation: str) -> str:
    return "(" if _is_strict(relation) else "["


def _close(relation: str) -> str:
    return ")" if _is_strict(relation) else "]"
