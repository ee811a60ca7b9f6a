"""Names of missing values, as programs write them into files where an answer should be."""

from __future__ import annotations

_ANY_CASE = {"nan", "none", "null", "<na>", "n/a", "#n/a", "<null>", "<none>", "-nan", "+nan"}
_AS_WRITTEN = {"NA", "#NA", "NaT", "nil", "1.#QNAN", "-1.#IND", "#N/A N/A", "#VALUE!", "#REF!", "#DIV/0!"}


def missing_problem(answer: str) -> str | None:
    """Say that a gold answer is the name of a missing value; None if it is not.

    `NA` counts in capitals only, since "Na" is sodium.
    """
    name = answer.strip().strip("\"'")
    if name.casefold() in _ANY_CASE or name in _AS_WRITTEN:
        return f"is {name!r}, the name of a missing value: drop the row, or write its answer"
    return None
