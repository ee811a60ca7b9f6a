"""Starting processes: how many there is room for, what they may import, that they end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

# A directory without Python modules, on every machine that has this environment. For libraries that import
# from the working directory, which may be a workspace with a `tasks.py` or `flows/` of its own.
WITHOUT_MODULES = Path(sys.prefix)


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def python_module(name: str, *arguments: str) -> list[str]:
    """Make the command `python -m NAME ARGUMENTS` that does not import from the working directory (`-P`)."""
    return [sys.executable, "-P", "-m", name, *arguments]


def set_parent_death_signal() -> None:
    """Ask the kernel to kill this process when the one that started it ends (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def start_session(
    command: list[str], *, env: Mapping[str, str], output: int | IO[bytes], cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, in a session of its own: end it with `end_session`.

    Args:
        command: what to run.
        env: its whole environment.
        output: where its output and errors go.
        cwd: its working directory, by default this process's.
    """
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=set_parent_death_signal,
    )


def end_session(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End a process, which may have ended already, and all that it started; kill what does not end soon."""
    try:
        os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
        process.wait(timeout=seconds)
    except ProcessLookupError:  # nothing of the session is left
        process.wait()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
