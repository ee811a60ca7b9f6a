"""Commands and functions of numbers: where what they are given ends."""

from __future__ import annotations

import re

from apo_core.verifiers.brackets import closing_brace

_ARGUMENT = re.compile(
    r"\s?(?P<script>[\^_])?\s?(?:\[[^\[\]]*\]\s?)?(?:(?P<brace>\{)|(?P<parenthesis>\()|\\[A-Za-z]+|[\w.]+)"
)
_PARENTHESIS = re.compile(r"[()]")


def behind_arguments(text: str, at: int, count: int) -> int:
    r"""Find where the arguments of a command end, as of `\frac`, in braces or single."""
    while count and (argument := _ARGUMENT.match(text, at)):
        closing = _closing(text, argument)
        at = len(text) if closing is None else closing + 1
        count -= not argument["script"]  # an index or exponent stands before the argument
    return at


def _closing(text: str, argument: re.Match[str]) -> int | None:
    if argument["brace"]:
        return closing_brace(text, argument.end())
    if not argument["parenthesis"]:
        return argument.end() - 1
    depth = 1
    for bracket in _PARENTHESIS.finditer(text, argument.end()):
        depth += 1 if bracket[0] == "(" else -1
        if not depth:
            return bracket.start()
    return None
