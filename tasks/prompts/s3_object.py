"""Fetch a single object from S3, whole, as one known version, and check it."""

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
_PAUSES = (1.0, 4.0)  # seconds before a body that broke off is requested again
_BROKEN_OFF = (ResponseStreamingError, ReadTimeoutError, IncompleteReadError, FlexibleChecksumError)


class S3Object:
    """A `tasks.prompts.mirrors.Remote` whose version is the ETag."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._bucket, self._key = bucket_and_key(address)
        self._client = connect(address)

    def version(self) -> str:
        """The present ETag."""
        with translate_s3_errors(self._address):
            etag: str = self._client.head_object(Bucket=self._bucket, Key=self._key)["ETag"]
        return etag.strip('"')

    def download(self, version: str, file: Path) -> None:
        """Write the object; the server refuses if it is no longer that version."""
        fetch_object(self._client, self._bucket, self._key, version, file)


def fetch_object(client: Any, bucket: str, key: str, etag: str, file: Path) -> None:
    """Write an object to a file and check it.

    Raises:
        StageRefused: the object does not exist, or may not be read.
        StageFailed: the object has changed meanwhile, cannot be reached, or arrived damaged.
    """
    address = f"s3://{bucket}/{key}"
    with translate_s3_errors(address):
        answer = _read(client, {"Bucket": bucket, "Key": key, "IfMatch": f'"{etag}"'}, file)
        actual = _received_etag(client, bucket, key, answer, file)
    if actual not in (None, etag):
        raise StageFailed(
            f"{address}: arrived damaged: its ETag is {etag}, that of the received bytes is {actual}"
        )


def _read(client: Any, request: dict[str, str], file: Path) -> dict[str, Any]:
    """Stream a body to a file; boto3 repeats requests, but not bodies that break off."""
    pauses = iter(_PAUSES)
    while True:
        try:
            # boto3 compares the server's own checksum of the whole object, if it keeps one.
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


def _received_etag(client: Any, bucket: str, key: str, answer: dict[str, Any], file: Path) -> str | None:
    """The ETag of the received bytes; None where the server's is not made from the content alone."""
    if answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer:
        return None
    parts = etag_parts(answer["ETag"].strip('"'))
    if parts is None:
        return None
    if parts == 0:
        return etag_of(file)
    part = client.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"]
    # Not for parts of unequal sizes, nor where the server does not know its parts.
    return etag_of(file, part) if part and -(-file.stat().st_size // part) == parts else None
