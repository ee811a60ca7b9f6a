"""The C library's heap: keep freed memory for the next step, which saves page faults, or return it."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def trim_heap() -> None:
    """Return the freed memory that the C library keeps to the operating system.

    It keeps whatever was ever freed for tensors of the same sizes, so that a process would hold the largest
    of every phase at once. Only glibc can be asked to.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_heap() -> None:
    """Let the C library keep freed blocks of any size for later allocations of this process.

    By itself it maps every tensor above 32 MiB anew, and the system clears each page of it: a tenth of a
    training step. In one arena, or other threads' would keep as much again. Only glibc can be asked to;
    elsewhere nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1)):
            set_option(option, value)
