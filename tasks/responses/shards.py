"""Work that survives a kill: a directory that belongs to one set of conditions, filled shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

import apo_core
import tasks
from apo_core.system.files import read_json, remove, sha256_of, write_json
from apo_core.system.progress import progress
from apo_core.tables import read_table, write_table
from tasks.responses.workers import Run

Item = TypeVar("Item")
_DECIDING = ("torch", "transformers", "deepspeed", "peft")  # packages: another version, other numbers


def open_work(directory: Path, conditions: dict[str, Any]) -> Path:
    """Make `directory` hold work done under `conditions` only; what is there under others is removed.

    Args:
        directory: of one stage.
        conditions: everything that decides the stage's result, as JSON values.
    """
    conditions = conditions | {package: version(package) for package in _DECIDING} | {"apo-flow": _sources()}
    record = directory / "conditions.json"
    if record.exists():
        found = read_json(record)
        if found == conditions:
            return directory
        differing = sorted(key for key in {*found, *conditions} if found.get(key) != conditions.get(key))
        print(
            f"{directory}: what is there is dropped, these have changed: {', '.join(differing)}", flush=True
        )
    remove(directory)
    write_json(record, conditions)
    return directory


def _sources() -> str:
    """A hash of the code that work is done by."""
    digest = hashlib.sha256()
    for package in (apo_core, tasks):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{file.relative_to(root.parent)}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def run_shards(
    directory: Path,
    items: Sequence[Item],
    run: Run[Item],
    *,
    shard_size: int,
    schema: pa.Schema,
    name: str,
    inspect: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Make rows of slices of `items`, each slice's a file that is whole or absent.

    Args:
        directory: from `open_work`.
        items: in the order of the result.
        run: makes the slices that are missing; a slice's rows are a function of it alone, so that it does not
            matter who made them and when.
        shard_size: items a slice.
        schema: of the rows.
        name: of the work, for files and the progress bar.
        inspect: sees the rows of every slice once, before they are written; what it raises ends the work.

    Returns:
        All rows in order.
    """
    shards = {
        directory / f"{name}-{start:08d}.parquet": list(items[start : start + shard_size])
        for start in range(0, len(items), shard_size)
    }
    missing = {file: shard for file, shard in shards.items() if not file.exists()}
    if len(missing) < len(shards):
        print(
            f"{name}: {len(shards) - len(missing)} of {len(shards)} shards were finished before", flush=True
        )
    for file in shards:
        if inspect is not None and file not in missing:
            inspect(read_table(file, schema))
    done = len(items) - sum(map(len, missing.values()))
    with progress(total=len(items), initial=done, description=name, unit="prompt") as bar:
        for file, rows in run(missing):
            if inspect is not None:
                inspect(rows)
            write_table(file, rows, schema)
            bar.update(len(missing[file]))
    return pd.concat([read_table(file, schema) for file in shards], ignore_index=True)
