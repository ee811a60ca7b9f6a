"""Memory of the host that a second process maps; that of a GPU is tested where there is one."""

import os
import resource
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path

import pytest

from apo_core.sampling.weight_buffer import HostBuffer, receive_buffer

SIZE = 5000


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def ends():
    ours, theirs = Pipe()
    with ours, theirs:
        yield ours, theirs


def test_both_ends_see_the_same_bytes(ends):
    ours, theirs = ends
    buffer = HostBuffer(SIZE)
    buffer.send(ours, os.getpid())
    received = receive_buffer(theirs, SIZE)
    assert received.shape == buffer.tensor.shape == (SIZE,)
    buffer.tensor[SIZE - 1] = 7
    assert received[SIZE - 1] == 7
    buffer.close()
    assert received[SIZE - 1] == 7  # what has been mapped stays


def test_it_takes_one_descriptor_and_no_file(ends):
    ours, theirs = ends
    shared_files = set(Path("/dev/shm").iterdir())
    before = descriptors()
    buffer = HostBuffer(SIZE)
    assert descriptors() == before + 1
    buffer.send(ours, os.getpid())
    received = receive_buffer(theirs, SIZE)
    assert descriptors() == before + 1
    assert set(Path("/dev/shm").iterdir()) <= shared_files
    buffer.close()
    assert descriptors() == before
    assert len(received) == SIZE


def test_messages_and_memory_come_in_turn(ends):
    ours, theirs = ends
    buffer = HostBuffer(SIZE)
    ours.send("before")
    buffer.send(ours, os.getpid())
    ours.send("after")
    assert theirs.recv() == "before"
    assert len(receive_buffer(theirs, SIZE)) == SIZE
    assert theirs.recv() == "after"


@contextmanager
def descriptors_left(count):
    """In the block, this process may open `count` more."""
    free = os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("left", [0, 1])  # one is taken for the receiving itself
def test_a_receiver_without_descriptors_says_so(ends, left):
    ours, theirs = ends
    buffer = HostBuffer(SIZE)
    buffer.send(ours, os.getpid())
    with descriptors_left(left), pytest.raises(OSError, match="Too many open files"):
        receive_buffer(theirs, SIZE)
    buffer.close()


def test_a_sender_without_descriptors_says_so():
    with descriptors_left(0), pytest.raises(OSError, match="Too many open files"):
        HostBuffer(SIZE)
