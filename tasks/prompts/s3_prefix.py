"""All prompts below a prefix on S3, mirrored as one directory: whole, and without what is gone there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from apo_core.data.readers import READERS, kinds
from apo_core.errors import StageRefused
from apo_core.system.files import read_json, remove, replacing, sha256_of, write_json
from tasks.prompts.s3 import fetch_object
from tasks.storage.s3_client import Listed, bucket_and_key, connect, list_objects, translate_s3_errors

_AT_ONCE = 8
_SAVED = ".arrow"  # rows of a directory that `Dataset.save_to_disk` wrote
Objects = dict[str, Listed]  # by the path below the prefix


def fetch_prefix(address: str, mirror: Path) -> bool:
    """Bring the mirror of a prefix up to date; whether anything had changed there.

    Only objects that have changed are fetched. Mirror and record are each written whole.

    Args:
        address: `s3://bucket/prefix/`.
        mirror: the directory; its record is written beside it.

    Raises:
        StageRefused: there are no prompts below the prefix, a key is no path, or no permission.
        StageFailed: it cannot be reached now, or changed while it was fetched.
    """
    bucket, prefix = bucket_and_key(address)
    client = connect(address)
    with translate_s3_errors(address):
        there = prompts_below(address, list_objects(client, bucket, prefix), prefix)
    record = mirror.with_name(f"{mirror.name}.record")
    known = _known(address, record, mirror)
    files = {str(file.relative_to(mirror)) for file in mirror.rglob("*") if file.is_file()}
    if mirror.is_dir() and known == _versions(there) and files == set(there):
        return False
    if mirror.is_file():  # of an object of that name
        remove(mirror)
    with replacing(mirror) as temporary:
        _fill(client, bucket, there, known, mirror, temporary)
        # A record of what was must not outlive it: a kill between the two renames is then seen.
        record.unlink(missing_ok=True)
    objects = {path: {"version": found.etag, "bytes": found.bytes} for path, found in there.items()}
    write_json(record, {"address": address, "objects": objects, "sha256": sha256_of(mirror)})
    return True


def prompts_below(address: str, listed: Iterable[Listed], prefix: str) -> Objects:
    """The objects that hold prompts, by their path below the prefix.

    Raises:
        StageRefused: there are none, or one has a key that is no path of a file below a directory.
    """
    found: Objects = {}
    for one in listed:
        path = one.key.removeprefix(prefix)
        if PurePosixPath(path).suffix not in (*READERS, _SAVED):
            continue
        if not _is_path(path):
            raise StageRefused(f"{address}: {one.key!r} cannot be the name of a file")
        found[path] = one
    if not found:
        raise StageRefused(f"{address}: there is no {kinds()} object below it")
    for path in found:
        if both := [str(parent) for parent in PurePosixPath(path).parents if str(parent) in found]:
            raise StageRefused(f"{address}: {both[0]!r} is an object and a directory of {path!r}")
    return found


def _is_path(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _versions(objects: Objects) -> dict[str, tuple[str, int]]:
    return {path: (found.etag, found.bytes) for path, found in objects.items()}


def _known(address: str, record: Path, mirror: Path) -> dict[str, tuple[str, int]]:
    """Versions and sizes of the files of the mirror that are a whole copy of an object."""
    written = read_json(record) if record.exists() else {}
    if written.get("address") != address:
        return {}
    return {
        path: (known["version"], known["bytes"])
        for path, known in written["objects"].items()
        if (mirror / path).is_file() and (mirror / path).stat().st_size == known["bytes"]
    }


def _fill(
    client: Any,
    bucket: str,
    there: Objects,
    known: dict[str, tuple[str, int]],
    mirror: Path,
    directory: Path,
) -> None:
    def bring(path: str) -> None:
        target, found = directory / path, there[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        if known.get(path) == (found.etag, found.bytes):
            shutil.copyfile(mirror / path, target)
        else:
            fetch_object(client, bucket, found.key, found.etag, target)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(bring, there):
            pass
