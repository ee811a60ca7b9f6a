"""Mirror all prompts below an S3 prefix as one directory, whole, and without objects that are gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from apo_core.data.readers import is_named_so, kinds
from apo_core.errors import StageRefused
from apo_core.system.files import read_json, remove, replacing, sha256_of, write_json
from tasks.prompts.s3_object import fetch_object
from tasks.storage.s3_client import Listed, bucket_and_key, connect, list_objects, translate_s3_errors

_AT_ONCE = 8
_SAVED = ".arrow"  # rows of a directory that `Dataset.save_to_disk` wrote
Objects = dict[str, Listed]  # by the path below the prefix


def fetch_prefix(address: str, mirror: Path) -> bool:
    """Bring the mirror of a prefix up to date; returns whether anything had changed there.

    Only objects that have changed are fetched. Mirror and record are each written whole.

    Args:
        address: `s3://bucket/prefix/`.
        mirror: the directory; its record is written beside it.

    Raises:
        StageRefused: there are no prompts below the prefix, a key is no path, or there is no permission.
        StageFailed: the server cannot be reached now, or an object changed while it was fetched.
    """
    bucket, prefix = bucket_and_key(address)
    client = connect(address)
    with translate_s3_errors(address):
        objects = prompts_below(address, list_objects(client, bucket, prefix), prefix)
    record = mirror.with_name(f"{mirror.name}.record")
    mirrored = _mirrored_versions(address, record, mirror)
    files = {str(file.relative_to(mirror)) for file in mirror.rglob("*") if file.is_file()}
    if mirror.is_dir() and mirrored == _versions(objects) and files == set(objects):
        return False
    if mirror.is_file():  # the mirror of an object of that name
        remove(mirror)
    with replacing(mirror) as temporary:
        _fill(client, bucket, objects, mirrored, mirror, temporary)
        # A kill must not leave the old record beside the new mirror.
        record.unlink(missing_ok=True)
    recorded = {path: {"version": listed.etag, "bytes": listed.bytes} for path, listed in objects.items()}
    write_json(record, {"address": address, "objects": recorded, "sha256": sha256_of(mirror)})
    return True


def prompts_below(address: str, listed: Iterable[Listed], prefix: str) -> Objects:
    """The objects that hold prompts, by their path below the prefix.

    Raises:
        StageRefused: there are none, or a key is not the path of a file below the prefix.
    """
    objects: Objects = {}
    for entry in listed:
        path = entry.key.removeprefix(prefix)
        if not is_named_so(PurePosixPath(path)) and PurePosixPath(path).suffix != _SAVED:
            continue
        if not _is_path(path):
            raise StageRefused(f"{address}: {entry.key!r} cannot be the name of a file")
        objects[path] = entry
    if not objects:
        raise StageRefused(f"{address}: there is no {kinds()} object below it")
    for path in objects:
        if both := [str(parent) for parent in PurePosixPath(path).parents if str(parent) in objects]:
            raise StageRefused(f"{address}: {both[0]!r} is an object and a directory of {path!r}")
    return objects


def _is_path(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _versions(objects: Objects) -> dict[str, tuple[str, int]]:
    return {path: (listed.etag, listed.bytes) for path, listed in objects.items()}


def _mirrored_versions(address: str, record: Path, mirror: Path) -> dict[str, tuple[str, int]]:
    """Versions and sizes of the mirror's files that are whole copies of an object."""
    written = read_json(record) if record.exists() else {}
    if written.get("address") != address:
        return {}
    return {
        path: (entry["version"], entry["bytes"])
        for path, entry in written["objects"].items()
        if (mirror / path).is_file() and (mirror / path).stat().st_size == entry["bytes"]
    }


def _fill(
    client: Any,
    bucket: str,
    objects: Objects,
    mirrored: dict[str, tuple[str, int]],
    mirror: Path,
    directory: Path,
) -> None:
    """Copy unchanged files from the mirror to the directory, and fetch all others."""

    def copy_or_fetch(path: str) -> None:
        target, listed = directory / path, objects[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        if mirrored.get(path) == (listed.etag, listed.bytes):
            shutil.copyfile(mirror / path, target)
        else:
            fetch_object(client, bucket, listed.key, listed.etag, target)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(copy_or_fetch, objects):
            pass
