"""Results that outlive an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apo_core.system.files import read_json, write_json


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result in the file; where there is none yet it is made, and stays there."""
    if not file.exists():
        write_json(file, make())
    found: dict[str, Any] = read_json(file)
    return found


def kept_of_training(directory: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What came of a training: in a file beside its directory, which goes once that is there."""
    found = kept(directory.with_name(f"{directory.name}.json"), make)
    shutil.rmtree(directory, ignore_errors=True)
    return found
