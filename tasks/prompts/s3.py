"""Single objects on S3: fetched whole, as the version that was asked for, and checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from botocore.exceptions import (
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from apo_core.errors import StageFailed
from tasks.storage.checksums import etag_of, etag_parts
from tasks.storage.s3_client import bucket_and_key, connect, translate_s3_errors

_CHUNK = 2**20  # bytes
_PAUSES = (1.0, 4.0)  # seconds before a body that broke off is asked for again
_BROKEN_OFF = (ResponseStreamingError, ReadTimeoutError, IncompleteReadError, FlexibleChecksumError)


class S3Object:
    """See `tasks.prompts.mirrors.Remote`; its version is the ETag."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._bucket, self._key = bucket_and_key(address)
        self._client = connect(address)

    def version(self) -> str:
        """The ETag now."""
        with translate_s3_errors(self._address):
            found: str = self._client.head_object(Bucket=self._bucket, Key=self._key)["ETag"]
        return found.strip('"')

    def download(self, version: str, file: Path) -> None:
        """Write the object; refused by the server if it is no longer that version."""
        fetch_object(self._client, self._bucket, self._key, version, file)


def fetch_object(client: Any, bucket: str, key: str, etag: str, file: Path) -> None:
    """Write an object to a file and check it.

    Raises:
        StageRefused: it is not there, or may not be read.
        StageFailed: it is another version by now, cannot be reached, or arrived damaged.
    """
    address = f"s3://{bucket}/{key}"
    with translate_s3_errors(address):
        answer = _read(client, {"Bucket": bucket, "Key": key, "IfMatch": f'"{etag}"'}, file)
        expected = _expected_etag(client, bucket, key, answer, file)
    if expected not in (None, etag):
        raise StageFailed(f"{address}: arrived damaged: its ETag is {etag}, that of what came is {expected}")


def _read(client: Any, request: dict[str, str], file: Path) -> dict[str, Any]:
    """Stream a body to a file; the client repeats requests, but not bodies that break off."""
    pauses = iter(_PAUSES)
    while True:
        try:
            # The library compares the server's own checksum of the whole, if it keeps one.
            answer: dict[str, Any] = client.get_object(**request, ChecksumMode="ENABLED")
            with file.open("wb") as stream:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    stream.write(chunk)
            return answer
        except _BROKEN_OFF:
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)


def _expected_etag(client: Any, bucket: str, key: str, answer: dict[str, Any], file: Path) -> str | None:
    """The ETag of what came; None where the server's is not made from the content alone."""
    if answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer:
        return None
    parts = etag_parts(answer["ETag"].strip('"'))
    if parts is None:
        return None
    if parts == 0:
        return etag_of(file)
    part = client.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"]
    # Parts of unequal sizes are not worked out, nor is a server followed that does not know its parts.
    return etag_of(file, part) if part and -(-file.stat().st_size // part) == parts else None
