"""Freed memory goes back to the system."""

import ctypes

import psutil
import pytest
import torch

from apo_core.heap import trim_heap

_MIB = 2**20


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc gives memory back when it is asked"
)
def test_what_lies_below_a_block_in_use_is_given_back():
    process = psutil.Process()
    # Small enough for the C library's heap, which ends with the last of them.
    blocks = [torch.zeros(64 * 1024 // 4) for _ in range(100 * 16)]
    last = blocks.pop()
    full = process.memory_info().rss
    del blocks
    trim_heap()
    assert full - process.memory_info().rss > 80 * _MIB
    assert not last.any()
