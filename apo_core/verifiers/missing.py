"""Names of missing values, as programs write them into files where an answer should be."""

from __future__ import annotations

import re

_ANY_CASE = {"nan", "none", "null", "n.a", "<na>", "n/a", "#n/a", "<null>", "<none>", "-nan", "+nan"}
_AS_WRITTEN = {"NA", "#NA", "NaT", "nil", "1.#QNAN", "-1.#IND", "#N/A N/A", "#VALUE!", "#REF!", "#DIV/0!"}

_TO_DO = "TODO"  # in capitals: todo is Spanish for all
_NO_ANSWER = re.compile(
    r"tbd|tba|to be determined"
    r"|see (?:below|above|(?:the )?(?:solution|explanation|proof|figure|diagram|graph))"
    r"|(?:the )?(?:sample )?answers? (?:may|will|can) vary|answers vary",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mbox|boxed)\s*\{([^{}]*)\}")
_AROUND = " \n\t\"'$.*_`()[]{}"  # brackets, quotes, bold face, a full stop


def missing_problem(answer: str) -> str | None:
    """Say that a gold answer is the name of a missing value, or says that there is none; else None.

    `NA` counts in capitals only, since "Na" is sodium.
    """
    name = _WRAPPED.sub(r"\1", _WRAPPED.sub(r"\1", answer)).strip(_AROUND)
    if name == _TO_DO or _NO_ANSWER.fullmatch(name):
        return f"is {name!r}, which is no answer: drop the row, or write its answer"
    if name.casefold() in _ANY_CASE or name in _AS_WRITTEN:
        return f"is {name!r}, the name of a missing value: drop the row, or write its answer"
    return None
