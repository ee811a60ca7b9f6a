"""Mirror remote prompts below `data/raw/prompts`, where DVC watches: stages never use the network.

Beside each mirror lies a record that names its source and version. Only changed sources are fetched again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from apo_core.config import Data
from apo_core.data.entries import Entry, is_prefix, parse_entry
from apo_core.system.files import read_json, replacing, sha256_of, write_json


class Remote(Protocol):
    """A remote file of prompts: an object on S3, or a data set of the hub."""

    def version(self) -> str:
        """The present version: it changes whenever the content does."""
        ...

    def download(self, version: str, file: Path) -> None:
        """Write that version to a file."""
        ...


def has_remote(data: Data) -> bool:
    """Whether a configuration names remote prompts."""
    return bool(_remote_entries(data))


def fetch_mirrors(root: Path, data: Data, log: Callable[[str], object]) -> None:
    """Bring the mirrors of all remote entries up to date.

    Args:
        root: `data/raw/prompts`.
        data: names the entries.
        log: is given a line per entry.

    Raises:
        StageRefused: a source does not exist, or may not be read.
        StageFailed: a source cannot be reached now.
    """
    for entry in _remote_entries(data):
        changed = _fetch(entry, root / entry.path)
        log(f"{entry.text}: {'fetched' if changed else 'unchanged'}")


def fetch_mirror(remote: Remote, address: str, mirror: Path) -> bool:
    """Fetch a remote file unless the mirror is of its present version; returns whether it was fetched.

    Mirror and record are each written whole; a mirror without a record of the version is fetched again.
    """
    record = mirror.with_name(f"{mirror.name}.record")
    version = remote.version()
    if mirror.exists() and record.exists():
        known = read_json(record)
        same = (known["address"], known.get("version")) == (address, version)
        if same and known["bytes"] == mirror.stat().st_size:
            return False
    with replacing(mirror) as temporary:
        remote.download(version, temporary)
        record.unlink(missing_ok=True)  # a kill must not leave the old record beside the new mirror
    size = mirror.stat().st_size
    write_json(record, {"address": address, "version": version, "sha256": sha256_of(mirror), "bytes": size})
    return True


def _remote_entries(data: Data) -> list[Entry]:
    if data.source != "files":
        return []
    entries = [parse_entry(text) for text in (*data.train_files, *data.eval_files)]
    return [entry for entry in entries if entry.kind in ("s3", "hub")]


def _fetch(entry: Entry, mirror: Path) -> bool:
    if is_prefix(entry):
        from tasks.prompts.s3_prefix import fetch_prefix

        return fetch_prefix(entry.text, mirror)
    return fetch_mirror(_remote(entry), entry.text, mirror)


def _remote(entry: Entry) -> Remote:
    # Imported here: only those who use S3 or the hub wait for its library.
    if entry.kind == "s3":
        from tasks.prompts.s3_object import S3Object

        return S3Object(entry.text)
    from tasks.prompts.hub import HubDataset

    return HubDataset(entry.text)
