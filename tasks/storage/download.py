"""Download a published model from S3, as its manifest lists it, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from apo_core.errors import ApoError, StageRefused
from apo_core.system.files import replacing, require_space, sha256_of
from tasks.storage.manifest import MANIFEST, Manifest
from tasks.storage.published_location import PublishedLocation, read_manifest
from tasks.storage.s3_client import bucket_and_key, connect
from tasks.storage.transfer import fetch_file


def download(address: str, directory: Path, log: Callable[[str], object]) -> None:
    """Write a published model and its manifest to a new directory.

    Args:
        address: of the version, `s3://bucket/prefix/MODEL/VERSION`.
        directory: appears when all files are there and have the manifest's hashes.
        log: is given a line per file.

    Raises:
        ApoError: the directory holds something else, the disk is too full, or the manifest is damaged.
        StageRefused: the address holds no whole model, a file of it is damaged, or there is no permission.
        StageFailed: the server cannot be reached now.
    """
    bucket, prefix = bucket_and_key(address)
    location = PublishedLocation(connect(address), bucket, f"{prefix.strip('/')}/")
    manifest = read_manifest(location)
    if manifest is None:
        raise StageRefused(f"{location.address}: holds no whole model: it has no {MANIFEST}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        _check_same_model(directory, manifest)
        log(f"{directory}: holds this model already")
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    require_space(directory.parent, manifest.bytes / 2**20, "the model")
    with replacing(directory) as temporary:
        for file in manifest.files:
            key = f"{location.prefix}{file.path}"
            fetch_file(location.client, bucket, key, file.bytes, file.sha256, temporary / file.path)
            log(f"{file.path}: {file.bytes / 1e6:.1f} MB")
        (temporary / MANIFEST).write_text(manifest.text(), encoding="utf-8")


def _check_same_model(directory: Path, manifest: Manifest) -> None:
    """Refuse a directory that is not exactly this model: nobody's files are ever replaced."""
    expected = {file.path: file.sha256 for file in manifest.files}
    files = [file for file in directory.rglob("*") if file.is_file()]
    paths = {file.relative_to(directory).as_posix(): file for file in files}
    paths.pop(MANIFEST, None)
    if set(paths) != set(expected) or any(sha256_of(paths[path]) != expected[path] for path in expected):
        raise ApoError(f"{directory}: exists and is not this model; name a new directory")
