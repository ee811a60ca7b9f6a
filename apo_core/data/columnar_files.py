"""Rows of CSV and Parquet files, and of datasets that `datasets` saved to a directory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apo_core.data.json_files import Row
from apo_core.errors import InputError

_ROWS = 1000  # rows decoded at once
_LONGEST_FIELD = 2**24  # characters, so that an unclosed quote does not read the whole file


def csv_rows(file: Path) -> Iterator[Row]:
    """Yield rows, keyed by the header's names, with the line that each begins at; the header is line 1.

    Raises:
        InputError: no header, or a row with another number of columns; names the line.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        line = 1
        try:
            header = next(reader, [])
            if not header or len(set(header)) < len(header) or not all(header):
                raise InputError(file, "must begin with a header of different names", row=1)
            line = reader.line_num + 1
            for values in reader:
                if values and len(values) != len(header):
                    problem = f"has {len(values)} values, the header has {len(header)}"
                    raise InputError(file, problem, row=line)
                if values:
                    yield line, dict(zip(header, values, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(file, f"malformed CSV: {error}", row=line) from None


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
    yield from _numbered(dataset.with_format("arrow").iter(batch_size=_ROWS))


def _numbered(tables: Iterable[Any]) -> Iterator[Row]:
    position = 0
    for table in tables:
        for row in table.to_pylist():
            position += 1
            yield position, row
