"""Measurements in a process of their own, so that one adds nothing to another's time or memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class ProcessFailed(Exception):
    """A measuring process ended with an error; the message holds the end of its output."""


def run_module(
    module: str,
    *arguments: str,
    threads: int,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Run a module of this checkout and parse the last line that it prints, which is JSON.

    Args:
        module: Name of the module, as for `python -m`.
        arguments: Command line arguments of the module.
        threads: Number of threads (`OMP_NUM_THREADS`).
        python: Interpreter, where the module needs another environment than ours.
        env: Environment variables set in addition to those of this process.

    Raises:
        ProcessFailed: The process ended with an error.
    """
    command = [python, "-m", module, *arguments]
    environment = dict(os.environ) | {"OMP_NUM_THREADS": str(threads)} | dict(env or {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailed(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def threads_per_process(processes: int) -> int:
    """Number of threads per process, where several processes share the cores of this one."""
    return max(1, len(os.sched_getaffinity(0)) // processes)
