"""The answer behind `####`, and the headings of Markdown that are no answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_MARK = re.compile("####+")
# Behind a mark, or the first line below that is not empty; up to the next mark.
_LINE = re.compile(r"[^\S\n]*(?:\n\s*)?((?:[^\n#]|#(?!###))*)")
_WORDS = (
    "answer|answers|conclusion|result|results|solution|explanation|reasoning|summary|verification|check|"
    "calculation|calculations|computation|proof|analysis|approach|note|notes|notation|discussion|steps|"
    "understanding|problem|question|given|setup|method"
)
_TITLE = re.compile(
    rf"[\W_]*(?:(?:the|your|my|our|final|short|full|detailed|step[- ]by[- ]step)\s+)*(?:{_WORDS})[\W_]*",
    re.IGNORECASE,
)
# "3. Conclusion", "2) Adding up", "Step 3: ...", with more text below
_NUMBERED = re.compile(r"[\W_]*(?:\d{1,2}[.):]\s+[^\W\d]|[IVX]+[.)]\s)")
# What says how the answer came about, on the line of its title: an answer only if there is no other
_ASIDE = re.compile(
    r"[\W_]*(?:explanation|reasoning|verification|check|notes?|calculations?|computation|proof|steps|method|approach|analysis"
    r"|given|setup)[^\w:]*:[\W_]*\w",
    re.IGNORECASE,
)
# "For the first 3 days:", with the answer below
_ANNOUNCES = re.compile(r"(?!\W*\d)[^\n]*:[\s*_]*")
_STEP = re.compile(
    r"[\W_]*(?:step|part|case|question|problem|example|phase|method|option|section|day|round|attempt)\s+"
    r"(?:\d{1,2}|[ivx]+|[a-h])\b[\W_]*(?:$|[:.)-]|[^\W\d])",
    re.IGNORECASE,
)
# "Cost of 3 days", with the answer below: words before the number, and nothing that says what it is
_PHRASE = re.compile(r"[\W_]*[A-Z][a-z]+(?:[ -](?!is\b|are\b)[\w']+)*? \d[^:=]*")
_DIGIT = re.compile(r"\d")


def behind_hashes(text: str, holds: Callable[[str], bool] = bool) -> str | None:
    """Extract the line behind the last `####` that is no heading.

    Args:
        text: a completion.
        holds: whether a line holds an answer; one that does not is a heading.

    Returns:
        None without a mark; empty text where the completion ends with its only mark, the answer cut off.
    """
    return next(all_behind_hashes(text, holds), None)


def all_behind_hashes(text: str, holds: Callable[[str], bool] = bool) -> Iterator[str]:
    """Yield what stands behind each `####` that is no heading, the last first; see `behind_hashes`."""
    end, last = len(text.rstrip()), len(text.rstrip(" \t\r\n#"))
    answered, title = False, None  # a title that nothing follows, or an aside: an answer if there is no other
    for match in reversed(list(_MARK.finditer(text))):
        line = _LINE.match(text, match.end())
        assert line is not None
        inside = line[1].strip()
        if not inside:
            if match.end() == end and "#" not in _same_line(text, match.start()):
                yield ""
        elif holds(inside) and not _is_heading(inside, text, line.end(), last):
            if _TITLE.fullmatch(inside) or _ASIDE.match(inside):
                title = title or inside
            else:
                yield inside
                answered = True
    if title is not None and not answered:
        yield title


def _same_line(text: str, position: int) -> str:
    return text[text.rfind("\n", 0, position) + 1 : position]


def _is_heading(line: str, text: str, end: int, last: int) -> bool:
    if _TITLE.fullmatch(line) and line.rstrip("*_ ").endswith(":"):
        return True
    if _ANNOUNCES.fullmatch(line) or _TITLE.fullmatch(line) or _NUMBERED.match(line) or _STEP.match(line):
        return end < last  # "proof" at the end is an answer
    return _PHRASE.fullmatch(line) is not None and _DIGIT.search(text, end) is not None
