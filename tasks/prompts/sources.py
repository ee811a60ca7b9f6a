"""All prompts that a configuration names, training prompts first; `mirrors` has fetched the remote ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apo_core.config import Arithmetic, Data
from apo_core.data.entries import Entry, parse_entry, set_names
from apo_core.data.prompts import Fields, Prompt, Split, prompt_id
from apo_core.data.streams import SplitColumn, column_prompts, file_prompts, generated_prompts
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
    """The prompts of the first rows of every file that `data` names and that is there, as `named_prompts`.

    Raises:
        InputError: as `named_prompts`.
    """
    for split, entry, set_name in _entries(data):
        if entry.kind != "generated" and (root / entry.path).exists():
            yield from _read_prompts(root, data, split, entry, set_name, _FIRST_ROWS)


def named_prompts(root: Path, data: Data, seed: int) -> Iterator[Prompt]:
    """All prompts of what `data.train_files` and `data.eval_files` name below `root`.

    Raises:
        InputError: a prompt cannot be read; names file, row and field.
    """
    counts = {"train": data.train_prompts, "eval": data.eval_prompts}
    for split, entry, set_name in _entries(data):
        if entry.kind == "generated":
            # A tenth more than needed: some may be dropped.
            yield from generated_prompts(entry.path, split, (counts[split] or 0) * 11 // 10 + 1, seed)
        else:
            yield from _read_prompts(root, data, split, entry, set_name)


def _entries(data: Data) -> Iterator[tuple[Split, Entry, str]]:
    """What the configuration names, in order: the split, and the name of the set, of each entry."""
    splits: tuple[tuple[Split, tuple[str, ...]], ...] = (
        ("train", data.train_files),
        ("eval", data.eval_files),
    )
    for split, entries in splits:
        names = set_names(entries)
        for entry in map(parse_entry, entries):
            yield split, entry, names[entry.text]


def _read_prompts(
    root: Path, data: Data, split: Split, entry: Entry, set_name: str, rows: int | None = None
) -> Iterator[Prompt]:
    fields = Fields(data.prompt_field, data.answer_field, data.group_field)
    if data.split_field is None:
        return file_prompts(root, entry, fields, split, set_name, rows)
    column = SplitColumn(data.split_field, data.train_rows, data.eval_rows)
    return column_prompts(root, entry, fields, column, rows)
