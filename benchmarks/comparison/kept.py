"""Results that outlive an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from apo_core.files import read_json, write_json


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result in the file; where there is none yet it is made, and stays there."""
    if not file.exists():
        write_json(file, make())
    found: dict[str, Any] = read_json(file)
    return found


def beside(directory: Path) -> Path:
    """The file of what came of a training there."""
    return directory.with_name(f"{directory.name}.json")
