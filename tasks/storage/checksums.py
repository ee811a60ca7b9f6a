"""Compute from a file the checksums that S3 keeps of it, so that both can be compared."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

PART = 8 * 2**20  # bytes; files from this size on are sent in parts
_MOST_PARTS = 10_000  # S3's limit
_ETAG = re.compile(r"[0-9a-f]{32}(?:-(?P<parts>\d+))?")
_md5 = partial(hashlib.md5, usedforsecurity=False)


class Checksums(NamedTuple):
    """A file's size and hashes."""

    bytes: int
    sha256: str
    """Of the whole file, in hexadecimal digits."""
    s3_sha256: str
    """S3's `ChecksumSHA256` of the file when it is sent in parts of `part_bytes`."""


def part_bytes(size: int) -> int:
    """The size of the parts in which a file of that size is sent."""
    return max(PART, -(-size // _MOST_PARTS))


def checksums_of(file: Path) -> Checksums:
    """A file's size and hashes, in one reading.

    Of a file that is sent in parts S3 keeps the hash of the parts' hashes, and the number of parts.
    """
    size = file.stat().st_size
    whole, parts = hashlib.sha256(), []
    with file.open("rb") as stream:
        for part in iter(partial(stream.read, part_bytes(size)), b""):
            whole.update(part)
            parts.append(hashlib.sha256(part).digest())
    if size < PART:
        return Checksums(size, whole.hexdigest(), base64.b64encode(whole.digest()).decode())
    together = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
    return Checksums(size, whole.hexdigest(), f"{together}-{len(parts)}")


def etag_parts(etag: str) -> int | None:
    """The number of parts that an ETag was made from, 0 for a file sent whole; None if it is no MD5."""
    match = _ETAG.fullmatch(etag)
    return None if match is None else int(match["parts"] or 0)


def etag_of(file: Path, part: int | None = None) -> str:
    """The ETag that S3 gives a file it does not encrypt: its MD5.

    Args:
        file: the content.
        part: size of the parts that the file was sent in; None if it was sent whole.
    """
    with file.open("rb") as stream:
        if part is None:
            return hashlib.file_digest(stream, _md5).hexdigest()
        digests = [_md5(chunk).digest() for chunk in iter(partial(stream.read, part), b"")]
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"
