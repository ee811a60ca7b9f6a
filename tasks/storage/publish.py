"""A registered model to S3: its files first, each checked, then the manifest that says it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from apo_core.errors import ApoError, StageRefused
from apo_core.model.directory import check_model_directory
from apo_core.system.files import remove, sha256_of
from tasks.lock import only_process
from tasks.storage.checksums import Sums, sums_of
from tasks.storage.location import Shelf, read_manifest
from tasks.storage.manifest import MANIFEST, Manifest, make_manifest
from tasks.storage.s3_client import bucket_and_key, connect, is_taken, list_objects, understood
from tasks.storage.transfer import send_file, state_of
from tasks.tracking.registry import POLICY_TAG, Registered, download_model, tags_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

Log = Callable[[str], object]


def publish_version(
    client: MlflowClient, workspace: Workspace, registered: Registered, address: str, log: Log
) -> str:
    """Publish a version of the registry below `address/MODEL/VERSION/`; its address there.

    Raises:
        ApoError: its files are gone from the registry or damaged, or another publication is at work here.
        StageRefused, StageFailed: see `publish`.
    """
    bucket, prefix = bucket_and_key(address)
    below = "/".join([prefix.strip("/"), registered.name, registered.version, ""])
    shelf = Shelf(connect(address), bucket, below)
    read_manifest(shelf)  # what cannot be reached is said before a large model is fetched
    with only_process(workspace, "publish"):
        scratch = workspace.work("publish")
        remove(scratch)  # a killed one's
        scratch.mkdir(parents=True)
        try:
            directory, tags = download_model(registered, scratch), tags_of(client, registered)
            check_model_directory(directory)
            if tags.get(POLICY_TAG) not in (None, sha256_of(directory)):
                raise ApoError(
                    f"{registered.name}/{registered.version}: its files are not what was registered"
                )
            publish(directory, registered, tags, shelf, log)
        finally:
            remove(scratch)
    return shelf.address


def publish(directory: Path, registered: Registered, tags: dict[str, str], shelf: Shelf, log: Log) -> None:
    """Send a model's directory; what is there already is not sent again, so that an interrupted one goes on.

    Args:
        directory: the model's files.
        registered: its name and version.
        tags: recorded in the manifest.
        shelf: where it is to lie.
        log: gets a line a file.

    Raises:
        StageRefused: there is another content or something else, no such bucket or no permission.
        StageFailed: it cannot be reached now.
    """
    paths = sorted(file for file in directory.rglob("*") if file.is_file())
    sums = {file.relative_to(directory).as_posix(): sums_of(file) for file in paths}
    manifest = make_manifest(registered.name, registered.version, tags, sums)
    published = read_manifest(shelf)
    _refuse_another(shelf, manifest, published)
    _refuse_strangers(shelf, sums)
    # Small ones first: what is refused is refused before the long wait.
    for path in sorted(sums, key=lambda path: (sums[path].bytes, path)):
        _bring(shelf, path, directory / path, sums[path], published is not None, log)
    if published is None:
        _see_all_there(shelf, sums)
        _write_manifest(shelf, manifest)
        log(f"{MANIFEST}: {len(sums)} files, {manifest.bytes / 1e6:.1f} MB")
        _drop_unfinished(shelf)


def _refuse_another(shelf: Shelf, manifest: Manifest, published: Manifest | None) -> None:
    differing = published and published.difference(manifest)
    if differing:
        raise StageRefused(
            f"{shelf.address}: holds another model of this name and version: {differing} differs"
        )


def _refuse_strangers(shelf: Shelf, sums: dict[str, Sums]) -> None:
    with understood(shelf.address):
        for found in list_objects(shelf.client, shelf.bucket, shelf.prefix):
            path = found.key.removeprefix(shelf.prefix)
            if path != MANIFEST and path not in sums:
                raise StageRefused(f"{shelf.address}: holds {path!r}, which is no file of this model")


def _bring(shelf: Shelf, path: str, file: Path, sums: Sums, published: bool, log: Log) -> None:
    key = shelf.prefix + path
    state = state_of(shelf.client, shelf.bucket, key, sums)
    if state == "same":
        log(f"{path}: is there already")
        return
    if published:
        log(f"{path}: is damaged there")
    elif state == "other":  # objects are written whole or not at all: this one is of another model
        raise StageRefused(f"{shelf.address}: holds another {path}, of a publication that was not finished")
    send_file(shelf.client, file, sums, shelf.bucket, key, replace=published)
    log(f"{path}: sent, {sums.bytes / 1e6:.1f} MB")


def _see_all_there(shelf: Shelf, sums: dict[str, Sums]) -> None:
    """Once more, all together: where no conditions are kept, others may have written over one."""
    for path, expected in sums.items():
        if state_of(shelf.client, shelf.bucket, shelf.prefix + path, expected) != "same":
            raise StageRefused(f"{shelf.address}: another publication is at work there: {path} has changed")


def _write_manifest(shelf: Shelf, manifest: Manifest) -> None:
    """Once: of two publications at the same time the second finds the first one's."""
    key = f"{shelf.prefix}{MANIFEST}"
    with understood(f"{shelf.address}{MANIFEST}"):
        try:
            shelf.client.put_object(
                Bucket=shelf.bucket,
                Key=key,
                Body=manifest.text().encode(),
                ContentType="application/json",
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if not is_taken(error):
                raise
    _refuse_another(shelf, manifest, read_manifest(shelf))


def _drop_unfinished(shelf: Shelf) -> None:
    """Parts that killed publications left there, which nobody sees and everybody pays."""
    with understood(shelf.address):
        pages = shelf.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=shelf.bucket, Prefix=shelf.prefix):
            for upload in page.get("Uploads", []):
                shelf.client.abort_multipart_upload(
                    Bucket=shelf.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
