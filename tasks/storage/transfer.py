"""Files to S3 and back, in parts and several at once, each compared with what was meant."""

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
from tasks.storage.checksums import PART, Sums, part_bytes
from tasks.storage.s3_client import is_absent, is_taken, understood

State = Literal["absent", "same", "other"]
_AT_ONCE = 8
_CHUNK = 2**20  # bytes


def send_file(client: Any, file: Path, sums: Sums, bucket: str, key: str, *, replace: bool) -> None:
    """Upload a file and look whether what lies there is it.

    Args:
        client: of S3.
        file: the content.
        sums: of it.
        bucket: where to.
        key: where to.
        replace: whether an object that is there may be written over, also one that came during the upload.

    Raises:
        StageRefused: there is no such bucket, no permission, or another object that is not to be replaced.
        StageFailed: it cannot be reached, or holds something else afterwards, which is removed.
    """
    address = f"s3://{bucket}/{key}"
    config, extra = TransferConfig(PART, _AT_ONCE, part_bytes(sums.bytes)), {"ChecksumAlgorithm": "SHA256"}
    sent = True
    with understood(address), file.open("rb") as stream, nullcontext() if replace else _only_new(client, key):
        try:
            client.upload_fileobj(stream, bucket, key, ExtraArgs=extra, Config=config)
        except ClientError as error:
            if not is_taken(error):
                raise
            sent = False  # or the answer to a first try was lost: then it is the same
    if state_of(client, bucket, key, sums) == "same":
        return
    if not sent:
        raise StageRefused(f"{address}: another content has come there meanwhile")
    with understood(address):
        client.delete_object(Bucket=bucket, Key=key)
    raise StageFailed(f"{address}: arrived damaged and was removed; the same command sends it again")


@contextmanager
def _only_new(client: Any, key: str) -> Iterator[None]:
    """While it lasts, the object is made only if there is none of that key.

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


def state_of(client: Any, bucket: str, key: str, sums: Sums) -> State:
    """Whether an object is there and has this content, by the checksum that the server keeps.

    What has none, or one over other parts, is read.

    Raises:
        StageRefused, StageFailed: the server does not say, for good or for now.
    """
    with understood(f"s3://{bucket}/{key}"):
        try:
            head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if is_absent(error):
                return "absent"
            raise
        same = head["ContentLength"] == sums.bytes and (
            head.get("ChecksumSHA256") == sums.checksum or _read_sha256(client, bucket, key) == sums.sha256
        )
    return "same" if same else "other"


def fetch_file(client: Any, bucket: str, key: str, size: int, sha256: str, file: Path) -> None:
    """Download an object whose content is known.

    Raises:
        StageRefused: it is not there, may not be read, or has another content.
        StageFailed: it cannot be reached.
    """
    address = f"s3://{bucket}/{key}"
    attempts = client.meta.config.retries["total_max_attempts"]  # for bodies that break off too
    config = TransferConfig(PART, _AT_ONCE, PART, num_download_attempts=attempts)
    file.parent.mkdir(parents=True, exist_ok=True)
    with understood(address), file.open("wb") as stream:
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
