"""Prompts: rows of a user's files, converted to content-addressed rows of one table."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from apo_core.errors import InputError

Split = Literal["train", "eval"]


class Prompt(NamedTuple):
    """One row of the prompts table."""

    prompt_id: str
    prompt: str
    answer: str
    row: str  # JSON: all fields of the source row, for verifiers that need more than the answer
    source: str  # file:line, or the generator
    split: Split
    set: str  # the name of the file or generator
    group: str | None = None  # group that results are broken down by


class Fields(NamedTuple):
    """Names of the fields of a source row."""

    prompt: str
    answer: str
    group: str | None = None


def prompt_id(prompt: str) -> str:
    """Compute the id of a prompt: the first 16 hex digits of the sha256 of its text."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def prompt_of(
    row: Mapping[str, Any],
    fields: Fields,
    *,
    file: Path,
    number: int,
    source: str,
    split: Split,
    set_name: str,
) -> Prompt:
    """Convert a source row to a prompt.

    Args:
        row: source row from `apo_core.data.readers`.
        fields: names of the fields for prompt, answer and group.
        file: file of the row, for error messages.
        number: number of the row in the file, for error messages.
        source: source of the prompt, for the table.
        split: split that the prompt belongs to.
        set_name: set that the prompt belongs to.

    Raises:
        InputError: a field is missing, empty or of a wrong type; names file, row and field.
    """
    prompt = text_of(file, number, row, fields.prompt)
    answer = text_of(file, number, row, fields.answer, numbers=True)
    if not prompt.strip():
        raise InputError(file, "is empty", row=number, field=fields.prompt)
    group = None
    if fields.group is not None and row.get(fields.group, "") is not None:
        group = text_of(file, number, row, fields.group, numbers=True)
    text = json_of(file, number, row)
    return Prompt(prompt_id(prompt), prompt, answer, text, source, split, set_name, group)


def json_of(file: Path, number: int, row: Mapping[str, Any]) -> str:
    """Convert a whole row to JSON; dates, decimals and other objects become text.

    Raises:
        InputError: the row holds binary data; names file and row.
    """
    try:
        return json.dumps(row, sort_keys=True, default=_plain)
    except TypeError as error:
        raise InputError(file, f"has a field that is no JSON: {error}", row=number) from None


def text_of(file: Path, number: int, row: Mapping[str, Any], field: str, *, numbers: bool = False) -> str:
    """Read a field as text; with `numbers`, a number is accepted and converted.

    Raises:
        InputError: the field is missing or of another type; names file, row and field.
    """
    if field not in row:
        raise InputError(file, f"is missing; the row has {', '.join(sorted(row))}", row=number, field=field)
    value = row[field]
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(file, "holds half of a surrogate pair", row=number, field=field)
        return value
    # bool is a subclass of int in Python, and never an answer.
    if (
        numbers
        and isinstance(value, int | float | Decimal)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    ):
        return str(value)
    kind = "text or a number" if numbers else "text"
    shown = json.dumps(value, default=str)[:40]
    raise InputError(file, f"must be {kind}, found {shown}", row=number, field=field)


def _plain(value: object) -> str:
    """Convert a value to text; refuse bytes (an image, a sound)."""
    if isinstance(value, bytes):
        raise TypeError("binary data")
    return str(value)
