"""What ties a process's life to that of the one that started it."""

from __future__ import annotations

import ctypes
import signal
import sys


def set_parent_death_signal() -> None:
    """Ask the kernel to kill this process when the one that started it ends (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
