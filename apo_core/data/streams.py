"""Streams of prompts, one per entry of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from apo_core.data.entries import Entry
from apo_core.data.generated import generated_rows
from apo_core.data.prompts import Fields, Prompt, Split, json_of, prompt_of, text_of
from apo_core.data.readers import rows_of
from apo_core.errors import InputError


class SplitColumn(NamedTuple):
    """The field that names the split of a row, and its values for training and evaluation."""

    field: str
    train: tuple[str, ...]
    eval: tuple[str, ...]


def file_prompts(
    root: Path, entry: Entry, fields: Fields, split: Split, set_name: str, rows: int | None = None
) -> Iterator[Prompt]:
    """Yield the prompts of a file, directory or mirror below `root`, or those of its first `rows`.

    Raises:
        InputError: see `rows_of` and `prompt_of`; or a remote entry has no mirror.
    """
    for file, number, row in islice(rows_of(_path_of(root, entry)), rows):
        source = f"{file.relative_to(root)}:{number}"
        yield prompt_of(row, fields, file=file, number=number, source=source, split=split, set_name=set_name)


def column_prompts(
    root: Path, entry: Entry, fields: Fields, column: SplitColumn, rows: int | None = None
) -> Iterator[Prompt]:
    """Yield the prompts of rows that the split column assigns to training or evaluation.

    Other rows are left out. The value of the column is the name of the set. With `rows`, only so many rows
    are read, whatever split they are of.

    Raises:
        InputError: as `file_prompts`; or the column is missing.
    """
    splits: dict[str, Split] = dict.fromkeys(column.train, "train")
    splits |= dict.fromkeys(column.eval, "eval")
    for file, number, row in islice(rows_of(_path_of(root, entry)), rows):
        value = text_of(file, number, row, column.field, numbers=True)
        if value in splits:
            source = f"{file.relative_to(root)}:{number}"
            yield prompt_of(
                row, fields, file=file, number=number, source=source, split=splits[value], set_name=value
            )


def generated_prompts(task: str, split: Split, count: int, seed: int) -> Iterator[Prompt]:
    """Yield prompts that a reasoning-gym task generates; the two splits never overlap.

    Raises:
        ApoError: reasoning-gym is not installed, or has no such task.
    """
    fields, generator = Fields("question", "answer"), Path(f"reasoning_gym:{task}")
    for number, row in generated_rows(task, split, count, seed):
        source = f"{generator}:{number}"
        # Some tasks have many right answers and give none; their verifier reads the whole row.
        known = row | {"answer": "" if row["answer"] is None else row["answer"]}
        prompt = prompt_of(
            known, fields, file=generator, number=number, source=source, split=split, set_name=task
        )
        yield prompt._replace(row=json_of(generator, number, row))


def _path_of(root: Path, entry: Entry) -> Path:
    path = root / entry.path
    if entry.kind in ("s3", "hub") and not path.exists():
        raise InputError(path, f"{entry.text} is not here yet; `apo fetch-prompts` gets it")
    return path
