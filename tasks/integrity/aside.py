"""Where damaged files and directories are kept: below `.apo/damaged`, never written over."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from tasks.workspace import Workspace


def put_aside(workspace: Workspace, path: Path, name: str) -> Path:
    """Move a damaged file or directory below `.apo/damaged`, by that name; returns where it is."""
    aside = free_name(workspace.damaged / name)
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, aside)
    return aside


def free_name(path: Path) -> Path:
    """The path; with a number behind it, where there is something of that name from the same minute."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(1))
    return path if not path.exists() else next(name for name in numbered if not name.exists())
