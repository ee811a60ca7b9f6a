"""Clients of S3 or a server that speaks it; address and credentials by the usual AWS_* environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from s3transfer.exceptions import RetriesExceededError

from apo_core.data.entries import s3_address
from apo_core.errors import ApoError, StageFailed, StageRefused

_ATTEMPTS = 6  # with pauses of at most 1, 2, 4, 8 and 16 seconds: a server may be started anew meanwhile
_CONNECT_SECONDS = 10
# What no second try mends: S3's own codes, and HTTP's where an answer has no body.
_FINAL = {
    *("NoSuchKey", "NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    *("InvalidBucketName", "InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed"),
    *("400", "401", "403", "404"),
}
# An answer without a body says less than is known.
_MEANING = {
    "403": "wrong credentials, or no permission",
    "404": "there is no such object, or no such bucket",
}
# Other errors of the library are of what it was told: no credentials, no such profile, half an address.
_PASSING = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    FlexibleChecksumError,
    CredentialRetrievalError,
)


class Listed(NamedTuple):
    """An object as a listing has it."""

    key: str
    bytes: int
    etag: str


def bucket_and_key(address: str) -> tuple[str, str]:
    """The parts of an address that a person gave.

    Raises:
        ApoError: it is not of the form s3://bucket/key.
    """
    try:
        return s3_address(address)
    except ValueError as error:
        raise ApoError(str(error)) from None


def connect(address: str) -> Any:
    """A client; what a busy or restarting server does not answer is asked again, after growing pauses.

    `AWS_MAX_ATTEMPTS` and `AWS_RETRY_MODE` say otherwise.

    Args:
        address: what it is for, to be named in errors.

    Raises:
        StageRefused: the environment makes no client.
    """
    retries: dict[str, Any] = {}
    if "AWS_RETRY_MODE" not in os.environ:
        retries["mode"] = "standard"
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = _ATTEMPTS
    config = Config(retries=retries, connect_timeout=_CONNECT_SECONDS)
    with understood(address):
        try:
            # A session of its own: the library's shared one keeps the first credentials it sees.
            return boto3.Session().client("s3", config=config)
        except ValueError as error:  # an endpoint or a number that is none
            raise StageRefused(f"{address}: {_line(error)}") from None


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[Listed]:
    """All objects below a prefix, page by page, in the order of their keys."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield Listed(found["Key"], found["Size"], found["ETag"].strip('"'))


def is_absent(error: ClientError) -> bool:
    """Whether an error says that there is no such object, in a bucket that may be there or not."""
    return error.response["Error"].get("Code") in ("NoSuchKey", "404")


def is_taken(error: ClientError) -> bool:
    """Whether an error says that there is such an object already, which `If-None-Match` keeps."""
    return error.response["Error"].get("Code") in ("PreconditionFailed", "412")


@contextmanager
def understood(address: str) -> Iterator[None]:
    """Errors of the library as ours, in one line that begins with the address.

    Raises:
        StageRefused: for good.
        StageFailed: for now.
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        said = _MEANING.get(code) or error.response["Error"].get("Message") or error
        kind = StageRefused if code in _FINAL else StageFailed
        raise kind(f"{address}: {_line(said)} ({code})") from None
    except RetriesExceededError as error:
        raise StageFailed(f"{address}: {_line(error.last_exception)}") from None
    except BotoCoreError as error:
        kind = StageFailed if isinstance(error, _PASSING) else StageRefused
        raise kind(f"{address}: {_line(error)}") from None


def _line(said: object) -> str:
    return " ".join(str(said).split())
