"""All prompts that a configuration names, training prompts first; `mirrors` has fetched the remote ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apo_core.config import Arithmetic, Data
from apo_core.data.entries import parse_entry, set_names
from apo_core.data.prompts import Fields, Prompt, Split, prompt_id
from apo_core.data.streams import (
    SplitColumn,
    column_prompts,
    file_prompts,
    first_of_file,
    generated_prompts,
)
from apo_core.embedded.arithmetic import distinct_chains
from apo_core.errors import InputError

_FIRST_ROWS = 20  # of a file, which say whether the fields are the right ones


def chain_prompts(params: Path, arithmetic: Arithmetic, data: Data, seed: int) -> Iterator[Prompt]:
    """The embedded task's prompts.

    Raises:
        InputError: the task has fewer prompts than `data` asks for; names `params`.
    """
    counts: tuple[tuple[Split, int | None], ...] = (
        ("train", data.train_prompts),
        ("eval", data.eval_prompts),
    )
    for split, count in counts:
        try:
            chains = distinct_chains(split, count or 0, seed, **arithmetic.model_dump())
        except ValueError as error:
            raise InputError(params, str(error), field=f"data.{split}_prompts") from None
        for chain in chains:
            text = chain.prompt
            yield Prompt(
                prompt_id=prompt_id(text),
                prompt=text,
                answer=str(chain.answer),
                row="{}",
                source="arithmetic",
                split=split,
                set="arithmetic",
            )


def first_prompts(root: Path, data: Data) -> Iterator[Prompt]:
    """A few prompts of every file that `data` names and that is there, as `named_prompts` reads them.

    Raises:
        InputError: as `named_prompts`.
    """
    fields = Fields(data.prompt_field, data.answer_field, data.group_field)
    for text in (*data.train_files, *data.eval_files):
        entry = parse_entry(text)
        if entry.kind != "generated" and (root / entry.path).exists():
            yield from first_of_file(root, entry, fields, data.split_field, _FIRST_ROWS)


def named_prompts(root: Path, data: Data, seed: int) -> Iterator[Prompt]:
    """All prompts of what `data.train_files` and `data.eval_files` name below `root`.

    Raises:
        InputError: a prompt cannot be read; names file, row and field.
    """
    fields = Fields(data.prompt_field, data.answer_field, data.group_field)
    splits: tuple[tuple[Split, tuple[str, ...], int | None], ...] = (
        ("train", data.train_files, data.train_prompts),
        ("eval", data.eval_files, data.eval_prompts),
    )
    for split, entries, count in splits:
        names = set_names(entries)
        for entry in map(parse_entry, entries):
            if entry.kind == "generated":
                # A tenth more than needed: some may be dropped.
                yield from generated_prompts(entry.path, split, (count or 0) * 11 // 10 + 1, seed)
            elif data.split_field is not None:
                column = SplitColumn(data.split_field, data.train_rows, data.eval_rows)
                yield from column_prompts(root, entry, fields, column)
            else:
                yield from file_prompts(root, entry, fields, split, names[entry.text])
