"""What S3 says of a file's content, worked out from the file: pure, so that both can be compared."""

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


class Sums(NamedTuple):
    """A file's size and hashes."""

    bytes: int
    sha256: str
    """Of the whole, in hexadecimal digits."""
    checksum: str
    """S3's `ChecksumSHA256` of the file when it is sent in parts of `part_bytes`."""


def part_bytes(size: int) -> int:
    """How large the parts of a file of that size are."""
    return max(PART, -(-size // _MOST_PARTS))


def sums_of(file: Path) -> Sums:
    """Size and hashes in one reading.

    Of what is sent in parts, S3 keeps the hash of the parts' hashes, and their number.
    """
    size = file.stat().st_size
    whole, parts = hashlib.sha256(), []
    with file.open("rb") as stream:
        for part in iter(partial(stream.read, part_bytes(size)), b""):
            whole.update(part)
            parts.append(hashlib.sha256(part).digest())
    if size < PART:
        return Sums(size, whole.hexdigest(), base64.b64encode(whole.digest()).decode())
    together = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode()
    return Sums(size, whole.hexdigest(), f"{together}-{len(parts)}")


def etag_parts(etag: str) -> int | None:
    """How many parts an ETag is of, 0 where it is of the whole; None if it is no MD5."""
    found = _ETAG.fullmatch(etag)
    return None if found is None else int(found["parts"] or 0)


def etag_of(file: Path, part: int | None = None) -> str:
    """The ETag that S3 gives a file it does not encrypt: its MD5.

    Args:
        file: the content.
        part: size of the parts that it was sent in; None for one that was sent whole.
    """
    with file.open("rb") as stream:
        if part is None:
            return hashlib.file_digest(stream, _md5).hexdigest()
        digests = [_md5(chunk).digest() for chunk in iter(partial(stream.read, part), b"")]
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"
