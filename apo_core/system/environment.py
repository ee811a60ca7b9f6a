"""The environment variables we set, and why."""

from __future__ import annotations

import os

# By which a launcher tells a process its rank; schedulers set some for reasons of their own.
_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def keep_imports_safe() -> None:
    """Let no Python process that this one starts import from its working directory, as `-P` does for one.

    That may be a workspace with a `tasks.py` or `flows/` of its own.
    """
    os.environ["PYTHONSAFEPATH"] = "1"


def forget_rank() -> None:
    """Let this process, and what it starts, be no rank of anything."""
    for name in _NAMES:
        os.environ.pop(name, None)
