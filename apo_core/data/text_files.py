"""Text files, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

from apo_core.errors import InputError

_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextmanager
def open_text(file: Path, *, newline: str | None = None) -> Iterator[IO[str]]:
    """Open a text file in UTF-8, with or without a mark of byte order, as `open` does.

    Raises:
        InputError: it is damaged, or not compressed as its name says.
    """
    opener = _OPEN.get(file.suffix, open)
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline=newline) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(file, f"is damaged, or not compressed as its name says: {error}") from None


def format_of(path: PurePath) -> str:
    """The extension that says what is in a file: `.jsonl` of `a.jsonl` and of `a.jsonl.gz`."""
    return path.with_suffix("").suffix if path.suffix in _OPEN else path.suffix


def name_of(path: PurePath) -> str:
    """The name of a file without the extensions of its format and compression."""
    return path.with_suffix("").stem if path.suffix in _OPEN and format_of(path) else path.stem
