"""Freed memory goes back to the system between the phases of a step, whose tensors are of different sizes."""

from __future__ import annotations

import ctypes


def trim_heap() -> None:
    """Give back what the C library keeps of freed memory.

    It keeps whatever was ever freed for tensors of the same sizes, so that a process would hold the largest
    of every phase at once. Only glibc can be asked to.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
