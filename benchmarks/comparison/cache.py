"""Results in files, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apo_core.system.files import read_json, write_json


def cached_result(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read the result from the file; compute it and write the file first if there is none."""
    if not file.exists():
        write_json(file, compute())
    result: dict[str, Any] = read_json(file)
    return result


def cached_training(directory: Path, train: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Cache a training's result in a file beside its directory; the directory is deleted afterwards."""
    result = cached_result(directory.with_name(f"{directory.name}.json"), train)
    shutil.rmtree(directory, ignore_errors=True)
    return result
