"""Freed memory goes back to the system."""

import ctypes
import subprocess
import sys

import psutil
import pytest
import torch

from apo_core.system.heap import trim_heap

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


_TWICE = """
import resource, sys, torch
from apo_core.system.heap import keep_heap
if sys.argv[1] == "kept":
    keep_heap()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64 * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sorted(faults() for _ in range(30))[10])  # the first ones do not leave enough beside each other
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be asked to")
@pytest.mark.parametrize(("how", "found_again"), [("kept", True), ("as it is", False)])
def test_large_tensors_are_made_of_what_others_have_left(how, found_again):
    # A process of its own: what it asks of the C library holds for its whole life.
    done = subprocess.run([sys.executable, "-c", _TWICE, how], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 1000) == found_again  # of 16384 pages
