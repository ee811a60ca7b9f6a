"""Rows of any file or directory of prompts, streamed one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from apo_core.data.columnar_files import csv_rows, parquet_rows, saved_rows
from apo_core.data.json_files import Row, rows_of_json
from apo_core.data.text_files import format_of
from apo_core.errors import InputError

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": rows_of_json,
    ".ndjson": rows_of_json,
    ".json": rows_of_json,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
}
_SAVED = ("dataset_info.json", "dataset_dict.json")  # what `save_to_disk` leaves beside the rows


def is_readable(path: Path) -> bool:
    """Whether a path exists and is of a kind that can hold prompts."""
    return path.is_dir() or (path.is_file() and is_named_so(path))


def is_named_so(path: PurePath) -> bool:
    """Whether a file's name says that it can hold prompts; text may be compressed."""
    kind = format_of(path)
    return kind in READERS and (kind != ".parquet" or path.suffix == ".parquet")


def rows_of(path: Path) -> Iterator[tuple[Path, int, dict[str, object]]]:
    """Yield file, row number (as a person would count) and row of all prompts in a path.

    Args:
        path: a file of one of the formats in `READERS`, a directory of such files (read in the order of their
            names), or a directory that `Dataset.save_to_disk` wrote.

    Raises:
        InputError: the path is missing, empty, of another kind, or malformed; names file and row.
    """
    if path.is_dir() and not any((path / name).exists() for name in _SAVED):
        files = sorted(file for file in path.rglob("*") if is_named_so(file))
        if not files:
            raise InputError(path, f"holds no {kinds()} file")
    else:
        files = [path]
    empty = True
    for file in files:
        for number, row in _rows(file):
            empty = False
            yield file, number, row
    if empty:
        raise InputError(path, "holds no prompts")


def _rows(file: Path) -> Iterator[Row]:
    reader = saved_rows if file.is_dir() else READERS.get(format_of(file)) if is_named_so(file) else None
    if not file.exists():
        raise InputError(file, "no such file")
    if reader is None:
        raise InputError(file, f"is no {kinds()} file, nor a directory of them")
    try:
        yield from reader(file)
    except UnicodeDecodeError as error:
        raise InputError(file, f"is not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise InputError(file, f"cannot be read: {error.strerror or error}") from None


def kinds() -> str:
    """List the known file name extensions, for an error message."""
    *most, last = READERS
    return f"{', '.join(most)} or {last}"
