"""What becomes of freed memory: kept for the next step, which then has no page faults, or given back."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def trim_heap() -> None:
    """Give back what the C library keeps of freed memory.

    It keeps whatever was ever freed for tensors of the same sizes, so that a process would hold the largest
    of every phase at once. Only glibc can be asked to.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_heap() -> None:
    """Let the C library keep what is freed, of whatever size, for what this process allocates next.

    By itself it maps every tensor above 32 MiB anew, and the system clears each page of it: a tenth of a
    training step. In one arena, or other threads' would keep as much again. Only glibc can be asked to;
    elsewhere nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1)):
            set_option(option, value)
