"""Measurements in processes of their own, so that none is part of another's time or memory."""

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
    """A process ended with an error; says what it printed last."""


def measured_apart(
    module: str,
    *arguments: str,
    threads: int,
    python: str = sys.executable,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """The last line that a module of this checkout prints, which is JSON.

    Args:
        module: to run.
        arguments: of its command line.
        threads: that it computes with.
        python: of another environment.
        settings: more variables of its environment.

    Raises:
        ProcessFailed: it ended with an error.
    """
    command = [python, "-m", module, *arguments]
    environment = dict(os.environ) | {"OMP_NUM_THREADS": str(threads)} | dict(settings or {})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailed(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def threads_of(parallel: int) -> int:
    """Of each of so many processes that share the cores this one may use."""
    return max(1, len(os.sched_getaffinity(0)) // parallel)
