"""The command `apo`: no module of the working directory takes the place of one of ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line, without the relative entries that PYTHONPATH has put on the search path.

    `PYTHONPATH=/opt/x:$PYTHONPATH` ends in a colon where the variable was empty; Python then looks for
    modules in the working directory first, and that may be a workspace with a tasks.py of its own.
    """
    sys.path[:] = without_relative(sys.path, os.environ.get("PYTHONPATH", ""))
    from flows.cli.main import main as run_command

    run_command()


def without_relative(search_path: list[str], variable: str) -> list[str]:
    """The entries of a search path but those that come from relative entries of a variable."""
    entries = variable.split(os.pathsep) if variable else []
    kept = {entry for entry in entries if Path(entry).is_absolute()}
    kept.add(str(Path(__file__).resolve().parents[2]))  # our own, if it is run from its checkout
    relative = {str(Path(entry).absolute()) for entry in entries if not Path(entry).is_absolute()}
    return [entry for entry in search_path if entry and (entry in kept or entry not in relative)]
