"""Whole files or none: everything is written under a temporary name and renamed when complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apo_core.errors import DiskFull


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that takes its place when the block ends without an error.

    The path does not exist yet: make it a file or a directory. What an interrupted run left is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = temporary_of(target), target.with_name(f".{target.name}.old")
    if aside.exists() and not target.exists():  # killed between the two renames below
        aside.replace(target)
    remove(aside)
    remove(temporary)
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"{temporary}: was not written")
        _sync(temporary)
        if target.is_dir():  # a directory cannot be renamed over another
            target.replace(aside)
        temporary.replace(target)
    finally:
        remove(temporary)
        remove(aside)


def temporary_of(target: Path) -> Path:
    """Make the temporary name under which `target` is written."""
    return target.with_name(f".{target.name}.tmp")


def write_text(target: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_private(target: Path, text: str) -> None:
    """Write a text file that only its owner may read, whole or not at all."""
    with replacing(target) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON with sorted keys, whole or not at all; NaN is refused because JSON has none."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(file: Path) -> Any:
    """Read a JSON file that a stage wrote."""
    return json.loads(file.read_text(encoding="utf-8"))


def remove(path: Path) -> None:
    """Remove a file or a directory if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hash a file's bytes, or a directory's file names and bytes."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return combined_hash(hashes_below(path))


def combined_hash(sha256s: dict[str, str]) -> str:
    """The hash of a directory of such files, as of `sha256_of`; paths to hashes."""
    digest = hashlib.sha256()
    for name in sorted(sha256s, key=Path):
        digest.update(f"{name}\0{sha256s[name]}\n".encode())
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hash a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hashes_below(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file below a directory, by its path there, sorted."""
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    return {file.relative_to(directory).as_posix(): sha256_of(file) for file in files}


def require_space(directory: Path, mib: float, purpose: str) -> None:
    """Refuse to start a write that would fill the disk.

    Raises:
        DiskFull: fewer than `mib` MiB are free where `directory` lies.
    """
    free = shutil.disk_usage(directory).free / 2**20
    if free < mib:
        raise DiskFull(f"{directory}: {purpose} needs {mib:.0f} MiB free, {free:.0f} MiB are")


def _sync(path: Path) -> None:
    """Flush to the disk before the rename, so that a power cut leaves the old file or the new one."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
