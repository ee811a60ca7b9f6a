"""Rows of CSV and Parquet files, and of datasets that `datasets` saved to a directory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apo_core.data.answer_text import features_of, restorer
from apo_core.data.json_files import Row
from apo_core.data.text_files import open_text
from apo_core.errors import InputError

_ROWS = 1000  # rows decoded at once
_LONGEST_FIELD = 2**24  # characters, so that an unclosed quote does not read the whole file


def csv_rows(file: Path) -> Iterator[Row]:
    """Yield rows, keyed by the header's names, with the line that each begins at; the header is line 1.

    A column without a name is left out: pandas writes its index so. Where the header has spaces behind its
    commas, those of the rows are no part of their values.

    Raises:
        InputError: no header, or a row with another number of columns; names the line.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    spaced = _has_spaces(file)
    with open_text(file, newline="") as stream:
        reader = csv.reader(stream, strict=True, skipinitialspace=spaced)
        line = 1
        try:
            header = [name.strip() for name in next(reader, [])]
            named = [name for name in header if name]
            if not named or len(set(named)) < len(named):
                raise InputError(file, "must begin with a header of different names", row=1)
            line = reader.line_num + 1
            for values in reader:
                if values and len(values) != len(header):
                    problem = f"has {len(values)} values, the header has {len(header)}"
                    raise InputError(file, problem, row=line)
                if values:
                    yield line, {name: value for name, value in zip(header, values, strict=True) if name}
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(file, f"malformed CSV: {error}", row=line) from None


def _has_spaces(file: Path) -> bool:
    with open_text(file, newline="") as stream:
        return any(name.startswith((" ", "\t")) for name in next(csv.reader(stream), [])[1:])


def parquet_rows(file: Path) -> Iterator[Row]:
    """Yield rows with their positions, counted from 1.

    Raises:
        InputError: the file is not a Parquet file.
    """
    try:
        with pq.ParquetFile(file) as table:
            # One row group at a time: over all of them, `iter_batches` keeps in memory what it has read.
            groups = (
                batch
                for group in range(table.num_row_groups)
                for batch in table.iter_batches(batch_size=_ROWS, row_groups=[group])
            )
            yield from _numbered(groups)
    except pa.ArrowInvalid as error:
        raise InputError(file, f"is not a Parquet file: {error}") from None


def saved_rows(directory: Path) -> Iterator[Row]:
    """Yield rows of a dataset that `Dataset.save_to_disk` wrote, with their positions, counted from 1.

    Raises:
        InputError: the directory holds several splits, or is damaged.
    """
    import datasets  # takes seconds, and only saved datasets need it

    try:
        dataset = datasets.load_from_disk(str(directory))
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(directory, f"is no saved dataset: {error}") from None
    if isinstance(dataset, datasets.DatasetDict):
        splits = ", ".join(f"{directory.name}/{split}" for split in dataset)
        raise InputError(directory, f"holds several splits; name one of them: {splits}")
    schema = dataset.features.arrow_schema  # with the names of class labels
    batches = dataset.with_format("arrow").iter(batch_size=_ROWS)
    yield from _numbered(batch.replace_schema_metadata(schema.metadata) for batch in batches)


def _numbered(tables: Iterable[Any]) -> Iterator[Row]:
    position = 0
    for table in tables:
        features = features_of(table.schema)
        restorers = {field.name: restorer(field.type, features.get(field.name)) for field in table.schema}
        changed = {name: restore for name, restore in restorers.items() if restore is not None}
        for row in table.to_pylist():
            position += 1
            yield position, row | {name: restore(row[name]) for name, restore in changed.items()}
