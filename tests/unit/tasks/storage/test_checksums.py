"""Checksums compared with those of sha256sum, md5sum and S3's documentation."""

import base64
import hashlib

import pytest

from tasks.storage import checksums
from tasks.storage.checksums import PART, checksums_of, etag_of, etag_parts, part_bytes


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


def test_of_a_small_file_it_is_the_hash_of_the_whole(file):
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums_of(file) == (3, digest, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
    file.write_bytes(b"")
    assert checksums_of(file) == (
        0,
        hashlib.sha256().hexdigest(),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    )


@pytest.mark.parametrize(("size", "parts"), [(8, [8]), (9, [8, 1]), (16, [8, 8]), (20, [8, 8, 4])])
def test_of_a_large_file_it_is_the_hash_of_the_hashes_of_its_parts(file, monkeypatch, size, parts):
    monkeypatch.setattr(checksums, "PART", 8)
    content = bytes(range(size))
    file.write_bytes(content)
    starts = [sum(parts[:index]) for index in range(len(parts))]
    hashes = [hashlib.sha256(content[a : a + n]).digest() for a, n in zip(starts, parts, strict=True)]
    together = base64.b64encode(hashlib.sha256(b"".join(hashes)).digest()).decode()
    assert checksums_of(file) == (size, hashlib.sha256(content).hexdigest(), f"{together}-{len(parts)}")


def test_there_are_never_more_parts_than_s3_takes():
    assert part_bytes(1) == part_bytes(10_000 * PART) == PART
    assert part_bytes(10_000 * PART + 1) == PART + 1
    for size in (10**11, 10**12, 5 * 2**40):
        assert -(-size // part_bytes(size)) <= 10_000


def test_etags(file):
    file.write_bytes(b"abcde")
    whole = "ab56b4d92b40713acc5af89985d4b786"
    assert etag_of(file) == whole
    parts = b"".join(hashlib.md5(part).digest() for part in (b"ab", b"cd", b"e"))
    assert etag_of(file, 2) == f"{hashlib.md5(parts).hexdigest()}-3"
    assert etag_of(file, 5) == f"{hashlib.md5(bytes.fromhex(whole)).hexdigest()}-1"
    assert [etag_parts(etag) for etag in (whole, f"{whole}-3", "CJ7z9v2p", f"{whole}-")] == [0, 3, None, None]
