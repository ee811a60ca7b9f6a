"""Prompts: from the rows of a user's JSONL file to content-addressed rows of one table."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
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


def prompt_id(prompt: str) -> str:
    """A prompt's identity is its text: the first 16 hex digits of its sha256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def read_prompts(file: Path, split: Split, *, prompt_field: str, answer_field: str) -> list[Prompt]:
    """Read a JSONL file, one object with a prompt and an answer a line; empty lines are skipped.

    Raises:
        InputError: missing or empty file, malformed line, missing field or wrong type; names the line.
    """
    rows = list(_rows(file, split, prompt_field, answer_field))
    if not rows:
        raise InputError(file, "holds no prompts")
    return rows


def _rows(file: Path, split: Split, prompt_field: str, answer_field: str) -> Iterator[Prompt]:
    for line, row in _objects(file):
        prompt = _text(file, line, row, prompt_field)
        answer = _text(file, line, row, answer_field, numbers=True)
        if not prompt.strip():
            raise InputError(file, "is empty", row=line, field=prompt_field)
        text = json.dumps(row, sort_keys=True)
        yield Prompt(prompt_id(prompt), prompt, answer, text, f"{file.name}:{line}", split, file.stem)


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open(encoding="utf-8") as stream:
            for line, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                row = json.loads(text.rstrip("\r\n"))
                if not isinstance(row, dict):
                    raise InputError(file, f"must be a JSON object, found {text.strip()[:40]}", row=line)
                yield line, row
    except FileNotFoundError:
        raise InputError(file, "no such file") from None
    except json.JSONDecodeError as error:
        raise InputError(file, f"malformed JSON: {error.msg} (column {error.colno})", row=line) from None
    except OSError as error:
        raise InputError(file, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(file, f"is not UTF-8 text: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(file, f"cannot be read: {error}", row=line) from None


def _text(file: Path, line: int, row: dict[str, Any], field: str, *, numbers: bool = False) -> str:
    if field not in row:
        raise InputError(file, f"is missing; the row has {', '.join(sorted(row))}", row=line, field=field)
    value = row[field]
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(file, "holds half of a surrogate pair", row=line, field=field)
        return value
    # A bool is an int to Python, and never an answer.
    if (
        numbers
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    ):
        return str(value)
    kind = "text or a number" if numbers else "text"
    raise InputError(file, f"must be {kind}, found {json.dumps(value)[:40]}", row=line, field=field)


def choose(prompts: list[Prompt], count: int | None, seed: int) -> list[Prompt]:
    """A seeded choice of `count` prompts in their order; all where `count` is None.

    Raises:
        ValueError: there are fewer.
    """
    if count is None:
        return prompts
    if count > len(prompts):
        raise ValueError(f"{count} prompts are asked for, the files hold {len(prompts)}")
    chosen = random.Random(seed).sample(range(len(prompts)), count)
    return [prompts[index] for index in sorted(chosen)]
