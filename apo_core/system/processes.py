"""Starting processes: what they may import, and that they end with the process that started them."""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

# A directory without Python modules, on every machine that has this environment. For libraries that import
# from the working directory, which may be a workspace with a `tasks.py` or `flows/` of its own.
WITHOUT_MODULES = Path(sys.prefix)


def python_module(name: str, *arguments: str) -> list[str]:
    """The command `python -m NAME ARGUMENTS` that does not import from the working directory (`-P`)."""
    return [sys.executable, "-P", "-m", name, *arguments]


def set_parent_death_signal() -> None:
    """Ask the kernel to kill this process when the one that started it ends (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
