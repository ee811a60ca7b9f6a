"""Where shards are written: work in a directory for one set of conditions, which survives a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import apo_core
import tasks
from apo_core.errors import InputError
from apo_core.system.files import remove, sha256_of, sha256_of_json, write_json
from apo_core.system.progress import progress
from apo_core.tables import read_table, write_table
from tasks.integrity.aside import put_aside
from tasks.responses.jobs import Item, Keep, Shards
from tasks.workspace import Workspace

_DECIDING_PACKAGES = ("torch", "transformers", "deepspeed", "peft")  # another version, other numbers
_RECORD, _OWN_HASH = "conditions.json", "own_sha256"


def open_work(directory: Path, conditions: dict[str, Any]) -> Path:
    """Make `directory` hold work done under `conditions` only; work done under others is removed.

    Work of which nobody can say any more how it was done is kept below `.apo/damaged`.

    Args:
        directory: the unfinished work of a workspace's stage.
        conditions: everything that decides the stage's result, as JSON values.
    """
    versions = {package: version(package) for package in _DECIDING_PACKAGES}
    conditions = {**conditions, **versions, "apo-flow": _sources_sha256()}
    own_hash = sha256_of_json(conditions)
    record = directory / _RECORD
    content = record.read_bytes() if record.exists() else b""
    recorded, whole = _conditions_in(content)
    if own_hash.encode() in content or recorded == conditions:
        if not whole:
            print(f"{record}: was damaged, and is written anew", flush=True)
            write_json(record, conditions | {_OWN_HASH: own_hash})
        return directory
    if whole:
        keys = {*recorded, *conditions}
        changed = ", ".join(sorted(key for key in keys if recorded.get(key) != conditions.get(key)))
        print(f"{directory}: what is there is dropped, these have changed: {changed}", flush=True)
    elif directory.exists() and any(not path.name.startswith(".") for path in directory.iterdir()):
        aside = put_aside(Workspace(directory.parents[2]), directory, f"unfinished/{directory.name}")
        print(f"{record}: is damaged or missing; the work beside it is moved to {aside}", flush=True)
    remove(directory)
    write_json(record, conditions | {_OWN_HASH: own_hash})
    return directory


def _conditions_in(record: bytes) -> tuple[dict[str, Any], bool]:
    """The conditions that a record names, and whether all of them are as they were written."""
    try:
        recorded = json.loads(record.decode(errors="replace"))
        own_hash = recorded.pop(_OWN_HASH, None)
    except (ValueError, AttributeError, TypeError):  # no JSON, or of another form
        return {}, False
    return recorded, own_hash == sha256_of_json(recorded)


def _sources_sha256() -> str:
    """A hash of the code that does the work."""
    digest = hashlib.sha256()
    for package in (apo_core, tasks):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{file.relative_to(root.parent)}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()


def run_shards(
    directory: Path,
    items: Sequence[Item],
    make_missing: Callable[[Shards[Item], Keep], None],
    *,
    shard_size: int,
    schema: pa.Schema,
    name: str,
    inspect: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Make rows from `items`, shard by shard; a file is whole or absent, and a damaged one is made again.

    Args:
        directory: from `open_work`.
        items: in the order of the result.
        make_missing: makes the shards that have no file yet, in any order; see `Workers.make`.
            The rows of a shard are a function of its items alone: it does not matter who made them and when.
        shard_size: items per shard.
        schema: of the rows.
        name: of the work, for files and the progress bar.
        inspect: is given the rows of every shard once, before they are written, and may refuse them.

    Returns:
        All rows in order.
    """
    shards = {
        directory / f"{name}-{start:08d}.parquet": list(items[start : start + shard_size])
        for start in range(0, len(items), shard_size)
    }
    missing = {file: shard for file, shard in shards.items() if not _is_whole(file, schema)}
    finished = [file for file in shards if file not in missing]
    if finished:
        print(f"{name}: {len(finished)} of {len(shards)} shards were finished before", flush=True)
    if inspect is not None:
        for file in finished:
            inspect(read_table(file, schema))
    done = len(items) - sum(map(len, missing.values()))
    with progress(total=len(items), initial=done, description=name, unit="prompt") as bar:

        def keep(file: Path, rows: pd.DataFrame) -> None:
            if inspect is not None:
                inspect(rows)
            write_table(file, rows, schema, checksums=True)
            bar.update(len(missing[file]))

        make_missing(missing, keep)
    return pd.concat([read_table(file, schema) for file in shards], ignore_index=True)


def _is_whole(file: Path, schema: pa.Schema) -> bool:
    """Whether a shard is there, every byte of its rows as it was written."""
    if not file.exists():
        return False
    try:
        read_table(file, schema)
    except InputError as error:
        print(f"{error}; it is made again", flush=True)
        return False
    return True
