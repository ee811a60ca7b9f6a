"""Objects on S3 or a server that speaks it; address and credentials by the usual AWS_* environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from apo_core.data.entries import s3_address
from tasks.dvc import StageFailed, StageRefused

_CHUNK = 2**20  # bytes
# What no second try mends: S3's own codes, and HTTP's where an answer has no body.
_FINAL = {
    *("NoSuchKey", "NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    *("400", "401", "403", "404"),
}


class S3Object:
    """See `tasks.mirrors.Remote`; its version is the ETag."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._bucket, self._key = s3_address(address)

    def version(self) -> str:
        """The ETag now."""
        with understood(self._address):
            found: str = boto3.client("s3").head_object(Bucket=self._bucket, Key=self._key)["ETag"]
        return found.strip('"')

    def download(self, version: str, file: Path) -> None:
        """Write the object; refused by the server if it is no longer that version."""
        with understood(self._address), file.open("wb") as stream:
            answer = boto3.client("s3").get_object(Bucket=self._bucket, Key=self._key, IfMatch=f'"{version}"')
            # The body raises where the connection ends before its announced length.
            for chunk in answer["Body"].iter_chunks(_CHUNK):
                stream.write(chunk)


@contextmanager
def understood(address: str) -> Iterator[None]:
    """Errors of the library as ours: refused for good, or failed for now."""
    try:
        yield
    except ClientError as error:
        problem = f"{address}: {error.response['Error'].get('Message') or error}"
        if error.response["Error"].get("Code") in _FINAL:
            raise StageRefused(f"{problem} ({error.response['Error']['Code']})") from None
        raise StageFailed(problem) from None
    except BotoCoreError as error:
        raise StageFailed(f"{address}: {error}") from None
