"""Connect to S3 or a server like it; address and credentials come from the usual AWS_* variables."""

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
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3transfer.exceptions import RetriesExceededError

from apo_core.data.entries import s3_address
from apo_core.errors import ApoError, StageFailed, StageRefused

_ATTEMPTS = 6  # with pauses of at most 1, 2, 4, 8 and 16 seconds: a server may be started anew meanwhile
_CONNECT_SECONDS = 10
# Codes that no second try mends: S3's own, and HTTP's where an answer has no body.
_REFUSED_CODES = {
    *("NoSuchKey", "NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    *("InvalidBucketName", "InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed"),
    *("400", "401", "403", "404"),
}
# An answer without a body says less than is known.
_PLAIN_TEXT = {
    "403": "wrong credentials, or no permission",
    "404": "there is no such object, or no such bucket",
}
# Other errors of the library are the caller's: no credentials, no such profile, half an address.
_TEMPORARY = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    FlexibleChecksumError,
    CredentialRetrievalError,
)


class Listed(NamedTuple):
    """An object, as a listing shows it."""

    key: str
    bytes: int
    etag: str


def bucket_and_key(address: str) -> tuple[str, str]:
    """Bucket and key of an address that a person wrote.

    Raises:
        ApoError: the address is not of the form s3://bucket/key.
    """
    try:
        return s3_address(address)
    except ValueError as error:
        raise ApoError(str(error)) from None


def connect(address: str) -> Any:
    """Make a client that repeats requests, after growing pauses, while a server is busy or restarts.

    `AWS_MAX_ATTEMPTS` and `AWS_RETRY_MODE` replace this retry policy.

    Args:
        address: what the client is for, to be named in errors.

    Raises:
        StageRefused: the AWS_* variables are wrong.
    """
    retry_policy: dict[str, Any] = {}
    if "AWS_RETRY_MODE" not in os.environ:
        retry_policy["mode"] = "standard"
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retry_policy["total_max_attempts"] = _ATTEMPTS
    config = Config(retries=retry_policy, connect_timeout=_CONNECT_SECONDS)
    with translate_s3_errors(address):
        try:
            # A session of its own: the library's shared one keeps the first credentials it sees.
            return boto3.Session().client("s3", config=config)
        except ValueError as error:  # a malformed endpoint or number
            raise StageRefused(f"{address}: {_line(error)}") from None


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[Listed]:
    """All objects below a prefix, page by page, in the order of their keys."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield Listed(entry["Key"], entry["Size"], entry["ETag"].strip('"'))


def read_object(client: Any, bucket: str, key: str) -> bytes:
    """Read a small object; a body that breaks off is asked for again, as the client does with answers."""
    attempts: int = client.meta.config.retries["total_max_attempts"]
    while True:
        attempts -= 1
        try:
            body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
            if not attempts:
                raise
        else:
            return body


def is_absent(error: ClientError) -> bool:
    """Whether an error says that there is no such object; its bucket may exist or not."""
    return error.response["Error"].get("Code") in ("NoSuchKey", "404")


def is_taken(error: ClientError) -> bool:
    """Whether an error says that the object exists already, which `If-None-Match` does not write over."""
    return error.response["Error"].get("Code") in ("PreconditionFailed", "412")


@contextmanager
def translate_s3_errors(address: str) -> Iterator[None]:
    """Turn boto3's errors into ours, in one line that begins with the address.

    Raises:
        StageRefused: trying again cannot help.
        StageFailed: trying again later may help.
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        message = _PLAIN_TEXT.get(code) or error.response["Error"].get("Message") or error
        kind = StageRefused if code in _REFUSED_CODES else StageFailed
        raise kind(f"{address}: {_line(message)} ({code})") from None
    except RetriesExceededError as error:
        raise StageFailed(f"{address}: {_line(error.last_exception)}") from None
    except BotoCoreError as error:
        kind = StageFailed if isinstance(error, _TEMPORARY) else StageRefused
        raise kind(f"{address}: {_line(error)}") from None
    except RecursionError:  # what botocore makes of a server that answers everything by 301
        raise StageRefused(
            f"{address}: the server answers every request by a redirection (301); is AWS_ENDPOINT_URL the "
            "address of the bucket's region?"
        ) from None


def _line(message: object) -> str:
    return " ".join(str(message).split())
