"""Reading and writing of file descriptors; what the first process reports."""

from __future__ import annotations

import os


def memory_file(content: bytes = b"") -> int:
    """Open a file in memory, at its beginning."""
    file = os.memfd_create("file")
    if content:
        write_all(file, content)
        os.lseek(file, 0, os.SEEK_SET)
    return file


def write_all(file: int, content: bytes) -> None:
    """Write all of it."""
    data = memoryview(content)
    while data:
        data = data[os.write(file, data) :]


def read_exactly(file: int, size: int) -> bytes:
    """Read so many bytes; raises EOFError if there are fewer."""
    parts: list[bytes] = []
    while size:
        part = os.read(file, min(size, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def report(ended: str, problem: str, output: int, size: int) -> None:
    """Write to standard output how a process ended, and the first `size` bytes of its output."""
    head = f"{ended}\n{size}\n{problem}".encode("utf-8", "replace")
    write_all(1, len(head).to_bytes(8, "big") + head)
    done = 0
    while done < size:
        done += os.sendfile(1, output, done, size - done)
