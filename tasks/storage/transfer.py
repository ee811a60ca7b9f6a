"""Send files to S3 and fetch them, several parts at once; each is compared with its checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from apo_core.errors import StageFailed, StageRefused
from apo_core.system.files import sha256_of
from tasks.storage.checksums import PART, Checksums, part_bytes
from tasks.storage.s3_client import is_absent, is_taken, translate_s3_errors

State = Literal["absent", "same", "other"]
_AT_ONCE = 8
_CHUNK = 2**20  # bytes


def send_file(client: Any, file: Path, checksums: Checksums, bucket: str, key: str, *, replace: bool) -> None:
    """Upload a file, then check that the object is this file.

    Args:
        client: of S3.
        file: to be uploaded.
        checksums: of the file.
        bucket: of the object.
        key: of the object.
        replace: whether an existing object may be written over, also one that appears during the upload.

    Raises:
        StageRefused: there is no such bucket, no permission, or another object that is not to be replaced.
        StageFailed: the server cannot be reached, or the object arrived damaged and was removed.
    """
    address = f"s3://{bucket}/{key}"
    config = TransferConfig(
        multipart_threshold=PART, max_concurrency=_AT_ONCE, multipart_chunksize=part_bytes(checksums.bytes)
    )
    sent = True
    with (
        translate_s3_errors(address),
        file.open("rb") as stream,
        nullcontext() if replace else _only_if_absent(client, key),
    ):
        try:
            client.upload_fileobj(
                stream, bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=config
            )
        except ClientError as error:
            if not is_taken(error):
                raise
            sent = False  # or the answer to a first try was lost: then the object is this file
    if state_of(client, bucket, key, checksums) == "same":
        return
    if not sent:
        raise StageRefused(f"{address}: was written by somebody else meanwhile")
    with translate_s3_errors(address):
        client.delete_object(Bucket=bucket, Key=key)
    raise StageFailed(f"{address}: arrived damaged and was removed; the same command sends it again")


@contextmanager
def _only_if_absent(client: Any, key: str) -> Iterator[None]:
    """Inside this block an upload to the key creates the object only if there is none.

    boto3's uploads do not take this condition, but the requests that they end with do.
    """
    name = uuid4().hex

    def add(params: dict[str, Any], **_: Any) -> None:
        if params["Key"] == key:
            params["IfNoneMatch"] = "*"

    events = [f"before-parameter-build.s3.{last}" for last in ("PutObject", "CompleteMultipartUpload")]
    for event in events:
        client.meta.events.register(event, add, unique_id=f"{event} {name}")
    try:
        yield
    finally:
        for event in events:
            client.meta.events.unregister(event, unique_id=f"{event} {name}")


def state_of(client: Any, bucket: str, key: str, checksums: Checksums, *, read: bool = False) -> State:
    """Whether an object exists and has this content, by the checksum that the server keeps.

    An object without a checksum, or with one over other parts, is read.

    Args:
        client: of S3.
        bucket: of the object.
        key: of the object.
        checksums: of the content.
        read: read it in any case: a server remembers its checksum of bytes that were damaged since.

    Raises:
        StageRefused: the server refuses to say.
        StageFailed: the server cannot be reached now.
    """
    with translate_s3_errors(f"s3://{bucket}/{key}"):
        try:
            head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if is_absent(error):
                return "absent"
            raise
        same = head["ContentLength"] == checksums.bytes and (
            (not read and head.get("ChecksumSHA256") == checksums.s3_sha256)
            or _read_sha256(client, bucket, key) == checksums.sha256
        )
    return "same" if same else "other"


def fetch_file(client: Any, bucket: str, key: str, size: int, sha256: str, file: Path) -> None:
    """Download an object whose size and hash are known.

    Raises:
        StageRefused: there is no such object, no permission to read it, or it has other content.
        StageFailed: the server cannot be reached now.
    """
    address = f"s3://{bucket}/{key}"
    attempts = client.meta.config.retries["total_max_attempts"]  # for bodies that break off too
    config = TransferConfig(
        multipart_threshold=PART,
        max_concurrency=_AT_ONCE,
        multipart_chunksize=PART,
        num_download_attempts=attempts,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with translate_s3_errors(address), file.open("wb") as stream:
        client.download_fileobj(bucket, key, stream, Config=config)
    if file.stat().st_size != size:
        raise StageRefused(f"{address}: is damaged: it has {file.stat().st_size} bytes of {size}")
    if sha256_of(file) != sha256:
        raise StageRefused(f"{address}: is damaged: its SHA-256 is not the manifest's")


def _read_sha256(client: Any, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
