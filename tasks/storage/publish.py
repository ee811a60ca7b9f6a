"""Publish a registered model on S3: its files first, each checked, and last the manifest of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from apo_core.errors import StageRefused
from apo_core.model.directory import check_model_directory
from apo_core.system.files import remove
from tasks.lock import only_process
from tasks.storage.checksums import Checksums, checksums_of
from tasks.storage.manifest import MANIFEST, Manifest, make_manifest
from tasks.storage.published_location import PublishedLocation, read_manifest
from tasks.storage.s3_client import bucket_and_key, connect, is_taken, list_objects, translate_s3_errors
from tasks.storage.transfer import send_file, state_of
from tasks.tracking.registry import Registered, download_model, tags_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

Log = Callable[[str], object]


def publish_version(
    client: MlflowClient, workspace: Workspace, registered: Registered, address: str, log: Log
) -> str:
    """Publish a version of the registry at `address/MODEL/VERSION/`; returns that address.

    Raises:
        ApoError: its files are gone from the registry or damaged, or this workspace is publishing already.
        StageRefused, StageFailed: see `publish`.
    """
    bucket, prefix = bucket_and_key(address)
    below = "/".join([prefix.strip("/"), registered.name, registered.version, ""])
    location = PublishedLocation(connect(address), bucket, below)
    read_manifest(location)  # before a large model is fetched: a server that cannot be reached
    with only_process(workspace, "publish"):
        scratch = workspace.work("publish")
        remove(scratch)  # of a publication that was killed
        scratch.mkdir(parents=True)
        try:
            directory = download_model(client, registered, scratch)
            check_model_directory(directory)
            publish(directory, registered, tags_of(client, registered), location, log)
        finally:
            remove(scratch)
    return location.address


def publish(
    directory: Path, registered: Registered, tags: dict[str, str], location: PublishedLocation, log: Log
) -> None:
    """Send a model's directory; files that are there are not sent again: a publication can be resumed.

    Args:
        directory: the model's files.
        registered: its name and version.
        tags: recorded in the manifest.
        location: where to publish.
        log: is given a line per file.

    Raises:
        StageRefused: the location holds other files, or there is no such bucket or no permission.
        StageFailed: the server cannot be reached now.
    """
    paths = sorted(file for file in directory.rglob("*") if file.is_file())
    checksums = {file.relative_to(directory).as_posix(): checksums_of(file) for file in paths}
    manifest = make_manifest(registered.name, registered.version, tags, checksums)
    published = read_manifest(location)
    _check_same_model(location, manifest, published)
    _refuse_unknown_files(location, checksums)
    # Small ones first: what is refused is refused before the long wait.
    for path in sorted(checksums, key=lambda path: (checksums[path].bytes, path)):
        _send_missing(location, path, directory / path, checksums[path], published is not None, log)
    if published is None:
        _check_all_sent(location, checksums)
        _write_manifest(location, manifest)
        log(f"{MANIFEST}: {len(checksums)} files, {manifest.bytes / 1e6:.1f} MB")
        _abort_unfinished_uploads(location)


def _check_same_model(location: PublishedLocation, manifest: Manifest, published: Manifest | None) -> None:
    differing = published and published.difference(manifest)
    if differing:
        raise StageRefused(
            f"{location.address}: holds another model of this name and version: {differing} differs"
        )


def _refuse_unknown_files(location: PublishedLocation, checksums: dict[str, Checksums]) -> None:
    with translate_s3_errors(location.address):
        for listed in list_objects(location.client, location.bucket, location.prefix):
            path = listed.key.removeprefix(location.prefix)
            if path != MANIFEST and path not in checksums:
                raise StageRefused(f"{location.address}: holds {path!r}, which is no file of this model")


def _send_missing(
    location: PublishedLocation, path: str, file: Path, checksums: Checksums, published: bool, log: Log
) -> None:
    key = location.prefix + path
    state = state_of(location.client, location.bucket, key, checksums, read=True)
    if state == "same":
        log(f"{path}: is there already")
        return
    if published:
        log(f"{path}: is damaged there")
    elif state == "other":  # objects are written whole or not at all: this one is of another model
        raise StageRefused(
            f"{location.address}: holds another {path}, of a publication that was not finished"
        )
    send_file(location.client, file, checksums, location.bucket, key, replace=published)
    log(f"{path}: sent, {checksums.bytes / 1e6:.1f} MB")


def _check_all_sent(location: PublishedLocation, checksums: dict[str, Checksums]) -> None:
    """Check all files once more: a server that keeps no conditions lets others write over one."""
    for path, expected in checksums.items():
        if state_of(location.client, location.bucket, location.prefix + path, expected) != "same":
            raise StageRefused(
                f"{location.address}: another publication is writing there: {path} has changed"
            )


def _write_manifest(location: PublishedLocation, manifest: Manifest) -> None:
    """Write the manifest unless there is one: the second of two publications compares with the first."""
    key = f"{location.prefix}{MANIFEST}"
    with translate_s3_errors(f"{location.address}{MANIFEST}"):
        try:
            location.client.put_object(
                Bucket=location.bucket,
                Key=key,
                Body=manifest.text().encode(),
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if not is_taken(error):
                raise
    _check_same_model(location, manifest, read_manifest(location))


def _abort_unfinished_uploads(location: PublishedLocation) -> None:
    """Remove parts that killed publications left: nobody sees them, and the bucket's owner pays for them."""
    with translate_s3_errors(location.address):
        pages = location.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=location.bucket, Prefix=location.prefix):
            for upload in page.get("Uploads", []):
                location.client.abort_multipart_upload(
                    Bucket=location.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
