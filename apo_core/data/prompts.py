"""Prompts: from the rows of a user's files to content-addressed rows of one table."""

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
    row: str  # JSON: all fields of the row it comes from, for verifiers that need more than the answer
    source: str  # file:line, or the generator
    split: Split
    set: str  # the name of the file or generator
    group: str | None = None  # what results are broken down by


class Fields(NamedTuple):
    """What the fields of a row are called."""

    prompt: str
    answer: str
    group: str | None = None


def prompt_id(prompt: str) -> str:
    """A prompt's identity is its text: the first 16 hex digits of its sha256."""
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
    """Make a prompt of a row.

    Args:
        row: from `apo_core.data.readers`.
        fields: those that prompt, answer and group are taken from.
        file: named in errors.
        number: of the row in the file, likewise.
        source: where the prompt comes from, for the table.
        split: it belongs to.
        set_name: it belongs to.

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
    """A whole row as JSON; dates, decimals and other objects as text.

    Raises:
        InputError: it holds binary data; names file and row.
    """
    try:
        return json.dumps(row, sort_keys=True, default=_plain)
    except TypeError as error:
        raise InputError(file, f"has a field that is no JSON: {error}", row=number) from None


def text_of(file: Path, number: int, row: Mapping[str, Any], field: str, *, numbers: bool = False) -> str:
    """A field as text; a number too, where `numbers` says so.

    Raises:
        InputError: it is missing or anything else; names file, row and field.
    """
    if field not in row:
        raise InputError(file, f"is missing; the row has {', '.join(sorted(row))}", row=number, field=field)
    value = row[field]
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(file, "holds half of a surrogate pair", row=number, field=field)
        return value
    # A bool is an int to Python, and never an answer.
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
    """The value as text; bytes (an image, a sound) are none."""
    if isinstance(value, bytes):
        raise TypeError("binary data")
    return str(value)
