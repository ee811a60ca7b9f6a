"""Options that several commands share, and how they are shown to the user."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Directory with params.yaml and dvc.yaml.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="key=value: changes params.yaml and stays there; may be given more than once."
    ),
]
OwnOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value: only for this command; may be given more than once."),
]


def workspace_option(directory: Path) -> str:
    """The option `-w`, for commands that are shown to the user."""
    return "" if directory == Path() else f" -w {shlex.quote(str(directory))}"
