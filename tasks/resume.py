"""Work that survives a kill: a directory that belongs to one set of conditions, filled shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from apo_core.files import read_json, remove, write_json
from apo_core.progress import progress
from apo_core.tables import read_table, write_table

Item = TypeVar("Item")
_DECIDING = ("apo-flow", "torch", "transformers")  # packages: another version, other numbers


def open_work(directory: Path, conditions: dict[str, Any]) -> Path:
    """Make `directory` hold work done under `conditions` only; what is there under others is removed.

    Args:
        directory: of one stage.
        conditions: everything that decides the stage's result, as JSON values.
    """
    conditions = conditions | {package: version(package) for package in _DECIDING}
    record = directory / "conditions.json"
    if record.exists():
        found = read_json(record)
        if found == conditions:
            return directory
        differing = sorted(key for key in {*found, *conditions} if found.get(key) != conditions.get(key))
        print(f"{directory}: unfinished work is dropped, these changed: {', '.join(differing)}", flush=True)
    remove(directory)
    write_json(record, conditions)
    return directory


def run_shards(
    directory: Path,
    items: Sequence[Item],
    make: Callable[[list[Item]], pd.DataFrame],
    *,
    shard_size: int,
    schema: pa.Schema,
    name: str,
) -> pd.DataFrame:
    """Apply `make` to slices of `items`, each slice's rows a file that is whole or absent.

    Args:
        directory: from `open_work`.
        items: in the order of the result.
        make: rows of one slice; a function of the slice alone, so that it does not matter which run made it.
        shard_size: items a slice.
        schema: of the rows.
        name: of the work, for files and the progress bar.

    Returns:
        All rows in order.
    """
    starts = range(0, len(items), shard_size)
    files = [directory / f"{name}-{start:08d}.parquet" for start in starts]
    finished = sum(file.exists() for file in files)
    if finished:
        print(f"{name}: {finished} of {len(files)} shards were finished before", flush=True)
    with progress(total=len(items), description=name, unit="prompt") as bar:
        for start, file in zip(starts, files, strict=True):
            shard = list(items[start : start + shard_size])
            if not file.exists():
                write_table(file, make(shard), schema)
            bar.update(len(shard))
    return pd.concat([read_table(file, schema) for file in files], ignore_index=True)
