"""The first process of a sandbox: runs a program and its tests in processes of their own, and reports.

It reads its job from standard input and writes reports to standard output; both are files in memory that no
other process of the sandbox has. What a model wrote never runs in this process, nor is it compiled here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # module signal brings enum
import builtins
import marshal
import os
import sys
import time

from .confinement import Confinement, Limits
from .files import read_exactly

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Read the job and do it."""
    _signal.signal(
        _signal.SIGINT, _signal.SIG_DFL
    )  # the first process gets no signal that it has no handler of
    job = _read()
    for name in ("exit", "quit"):  # what module `site`, which is not loaded, would add
        setattr(builtins, name, sys.exit)
    for name in job["warm"]:  # once, before the processes that need it are forked
        try:
            __import__(name)
        except ImportError:  # the program will say so
            continue
    limits = Limits(*job["limits"])
    confinement = Confinement(limits, job["filter"])
    deadline = time.monotonic() + limits.seconds
    if job["runs"] is not None:
        from .runs import report_runs

        report_runs(job, confinement, deadline)
    else:
        from .assertions import report_assertions

        report_assertions(job, _read, confinement, deadline)
    os._exit(0)


def _read() -> Any:
    """Read a message from outside, which is trusted."""
    return marshal.loads(read_exactly(0, int.from_bytes(read_exactly(0, 8), "big")))
