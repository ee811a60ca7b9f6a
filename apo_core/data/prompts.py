"""Prompts: rows of a user's files, converted to content-addressed rows of one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from apo_core.data.answer_text import number_text, tests_text
from apo_core.data.messages import is_conversation, prompt_of_turns
from apo_core.errors import InputError

Split = Literal["train", "eval"]
_MISSING = object()
_BINARY = (bytes, bytearray, memoryview)


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
    prompt = prompt_text(file, number, row, fields.prompt)
    answer = tests_text(_found(row, fields.answer, None)) or text_of(
        file, number, row, fields.answer, numbers=True, one_of_list=True
    )
    if not prompt.strip():
        raise InputError(file, "is empty", row=number, field=fields.prompt)
    group = None
    if fields.group is not None and _found(row, fields.group, "") is not None:
        group = text_of(file, number, row, fields.group, numbers=True)
    text = json_of(file, number, row)
    return Prompt(prompt_id(prompt), prompt, answer, text, source, split, set_name, group)


def json_of(file: Path, number: int, row: Mapping[str, Any]) -> str:
    """Convert a whole row to JSON; dates, decimals and other objects become text.

    Binary data (an image, a sound) is left out: no verifier reads it.

    Raises:
        InputError: a field cannot be written as JSON; names file and row.
    """
    try:
        return json.dumps(_without_binary(row), sort_keys=True, default=str)
    except TypeError as error:
        raise InputError(file, f"has a field that is no JSON: {error}", row=number) from None


def text_of(
    file: Path,
    number: int,
    row: Mapping[str, Any],
    field: str,
    *,
    numbers: bool = False,
    one_of_list: bool = False,
) -> str:
    """Read a field as text.

    Args:
        file: file of the row, for error messages.
        number: number of the row in the file, for error messages.
        row: the source row.
        field: a name, or names joined by dots: `reward_model.ground_truth` is inside the first.
        numbers: accept a number, and convert it.
        one_of_list: accept a list of one value, and take that.

    Raises:
        InputError: the field is missing or of another type; names file, row and field.
    """
    value = _value_of(file, number, row, field)
    if one_of_list and isinstance(value, list):
        if len(value) != 1:
            raise InputError(file, f"must be one answer, the list has {len(value)}", row=number, field=field)
        (value,) = value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(file, "holds half of a surrogate pair", row=number, field=field)
        return value
    if numbers and isinstance(value, int | float | Decimal) and (text := number_text(value)) is not None:
        return text
    kind = "text or a number" if numbers else "text"
    shown = json.dumps(value, default=str)[:40]
    advice = f'; write it as text, "{shown}"' if numbers and isinstance(value, bool) else ""
    raise InputError(file, f"must be {kind}, found {shown}{advice}", row=number, field=field)


def prompt_text(file: Path, number: int, row: Mapping[str, Any], field: str) -> str:
    """Read a prompt's text, or its turns as the table keeps them.

    Args:
        file: file of the row, for error messages.
        number: number of the row in the file, for error messages.
        row: the source row.
        field: as in `text_of`.

    Raises:
        InputError: the field is missing or of another type; names file, row and field.
    """
    value = _value_of(file, number, row, field)
    if not is_conversation(value):
        return text_of(file, number, row, field)
    try:
        return prompt_of_turns(value)
    except ValueError as error:
        raise InputError(file, str(error), row=number, field=field) from None


def _value_of(file: Path, number: int, row: Mapping[str, Any], field: str) -> Any:
    value = _found(row, field, _MISSING)
    if value is _MISSING:
        raise InputError(file, f"is missing; the row has {_names(row)}", row=number, field=field)
    return value


def _found(row: Mapping[str, Any], field: str, default: Any) -> Any:
    """The value of a field; a name that is one of the row's goes before a path of names."""
    if field in row:
        return row[field]
    outer, dot, inner = field.partition(".")
    while dot:
        if isinstance(part := row.get(outer), Mapping):
            return _found(part, inner, default)
        more, dot, inner = inner.partition(".")
        outer = f"{outer}.{more}"
    return default


def has_field(row: Mapping[str, Any], field: str) -> bool:
    """Whether a row has a field, which may be inside of others: see `text_of`."""
    return _found(row, field, _MISSING) is not _MISSING


def _names(row: Mapping[str, Any], prefix: str = "") -> str:
    """The fields of a row, those inside others by their paths."""
    return ", ".join(
        _names(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else f"{prefix}{name}"
        for name, value in sorted(row.items())
    )


def _without_binary(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_binary(part) for name, part in value.items() if not isinstance(part, _BINARY)}
    if isinstance(value, list):
        return [_without_binary(part) for part in value if not isinstance(part, _BINARY)]
    return value
