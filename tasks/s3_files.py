"""Files to S3 and back, in parts and several at once, each compared with what was meant."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from apo_core.files import sha256_of
from tasks.dvc import StageFailed, StageRefused
from tasks.s3_checksums import PART, Sums, part_bytes
from tasks.s3_client import is_absent, understood

State = Literal["absent", "same", "other"]
_AT_ONCE = 8
_CHUNK = 2**20  # bytes


def send_file(client: Any, file: Path, sums: Sums, bucket: str, key: str) -> None:
    """Upload a file and look whether what lies there is it.

    Raises:
        StageRefused: there is no such bucket, or no permission.
        StageFailed: it cannot be reached, or holds something else afterwards, which is removed.
    """
    address = f"s3://{bucket}/{key}"
    config = TransferConfig(PART, _AT_ONCE, part_bytes(sums.bytes))
    with understood(address), file.open("rb") as stream:
        client.upload_fileobj(stream, bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=config)
    if state_of(client, bucket, key, sums) == "same":
        return
    with understood(address):
        client.delete_object(Bucket=bucket, Key=key)
    raise StageFailed(f"{address}: arrived damaged and was removed; the same command sends it again")


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
