"""Notes in `.apo` about what is at work in a workspace; one in a copy of the workspace says nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

from apo_core.system.files import write_json
from tasks.workspace import Workspace


def write_note(file: Path, workspace: Workspace, text: str) -> None:
    """Write a note, whole or not at all."""
    write_json(file, {"workspace": str(workspace.root.resolve()), "note": text})


def read_note(file: Path, workspace: Workspace) -> str | None:
    """A note that was written in this workspace; None where there is none, or it is damaged."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("workspace") != str(workspace.root.resolve()):
        return None
    return str(content.get("note", "")) or None
