"""Variables by which a launcher tells a process its rank; schedulers set some for reasons of their own."""

from __future__ import annotations

import os

_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def forget_rank() -> None:
    """Let this process, and what it starts, be no rank of anything."""
    for name in _NAMES:
        os.environ.pop(name, None)
