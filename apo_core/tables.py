"""The data contracts: Parquet tables with fixed columns, checked when read, whole when written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from apo_core.errors import InputError
from apo_core.system.files import replacing

PROMPTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("row", pa.string()),  # JSON: all fields of the row that the prompt comes from
        ("source", pa.string()),  # file:line, or the generator
        ("split", pa.string()),  # train or eval
        ("set", pa.string()),  # the name of the file or generator
        ("group", pa.string()),  # what results are broken down by, or null
    ]
)
SAMPLES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("token_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("extracted", pa.string()),  # what the verifier read as the answer, or null
        ("reward", pa.float64()),  # null where the verifier failed
        ("reason", pa.string()),  # of the reward, or what it failed of
        ("parts", pa.string()),  # JSON: the reward's parts by verifier, or null where it has but one
    ]
)
VALUES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("v_star", pa.float64()),
        ("mean_reward", pa.float64()),
        ("expected_reward", pa.float64()),  # posterior mean of the reference policy's mean reward
        ("solvable", pa.float64()),  # probability that this is above `selection.SOLVABLE`
        ("n", pa.int32()),
        ("max_reward", pa.float64()),
        ("dropped", pa.string()),
    ]
)
EVALUATIONS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("policy", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("extracted", pa.string()),  # what the verifier read as the answer, or null
        ("reward", pa.float64()),  # null where the verifier failed
        ("reason", pa.string()),
        ("parts", pa.string()),  # as in samples
        ("log_ratio", pa.float64()),
    ]
)
_METADATA = b"apo"
_ROW_GROUP = 10_000  # rows of a table that is written and read piece by piece


def write_table(
    file: Path,
    frame: pd.DataFrame,
    schema: pa.Schema,
    metadata: dict[str, Any] | None = None,
    *,
    checksums: bool = False,
) -> None:
    """Write a table with its contract's columns in order, whole or not at all.

    With `checksums`, `read_table` refuses the file if a byte of it has changed.

    The same rows and metadata give the same bytes: nothing of the machine or the time goes in.
    """
    table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    text = json.dumps(metadata or {}, sort_keys=True)
    with replacing(file) as temporary:
        whole = table.replace_schema_metadata({_METADATA: text.encode()})
        pq.write_table(whole, temporary, write_page_checksum=checksums)


def write_batches(file: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write a table as its rows come, whole or not at all, and hold no more than a row group of them.

    The same rows give the same bytes, however they are cut into batches.
    """
    with replacing(file) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        waiting = schema.empty_table()
        for batch in batches:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch.cast(schema)])])
            while waiting.num_rows >= _ROW_GROUP:
                writer.write_table(waiting.slice(0, _ROW_GROUP).combine_chunks())
                waiting = waiting.slice(_ROW_GROUP)
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())


def read_batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Columns of a table that `write_batches` wrote, a row group at a time."""
    with pq.ParquetFile(file) as table:
        # One by one: over all row groups, `iter_batches` holds what it has read until the end.
        for group in range(table.num_row_groups):
            yield from table.iter_batches(batch_size=_ROW_GROUP, columns=columns, row_groups=[group])


def read_table(file: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read a table and hold it to its contract.

    Raises:
        InputError: missing, no Parquet, damaged, or a column is absent or of another type.
    """
    with _translated_errors(file):
        table = pq.read_table(file, page_checksum_verification=True)
        _check_columns(file, table, schema)
        frame: pd.DataFrame = table.select(schema.names).to_pandas()
    return frame


def read_metadata(file: Path) -> dict[str, Any]:
    """What `write_table` was given as metadata; empty where another program wrote the file.

    Raises:
        InputError: missing, or no Parquet.
    """
    with _translated_errors(file):
        raw = (pq.read_schema(file).metadata or {}).get(_METADATA, b"{}")
        metadata: dict[str, Any] = json.loads(raw)
    return metadata


@contextmanager
def _translated_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(file, "no such table; run the stage that makes it") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # a damaged name of a column is no UTF-8
        raise InputError(file, f"is not a Parquet table: {error}") from None


def _check_columns(file: Path, table: pa.Table, schema: pa.Schema) -> None:
    for column in schema:
        if column.name not in table.column_names:
            raise InputError(file, "column is missing", field=column.name)
        actual = table.schema.field(column.name).type
        if actual != column.type:
            raise InputError(file, f"column is {actual}, not {column.type}", field=column.name)
