"""Entries of `data.train_files` and `data.eval_files`: local files, remote data, generated tasks."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from apo_core.data.text_files import name_of

Kind = Literal["local", "s3", "hub", "generated"]
MIRRORS = "remote"  # directory below data/raw/prompts
_S3 = re.compile(r"s3://(?P<bucket>[\w.-]+)/(?P<key>.+)")
_HUB = re.compile(
    r"hf:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?(?::(?P<split>\w+))?"
)
_GENERATED = re.compile(r"reasoning_gym:(?P<task>\w+)")


class Entry(NamedTuple):
    """A source of prompts: a file, a directory, a remote dataset or a generator."""

    text: str  # as the configuration names it
    kind: Kind
    path: str  # below data/raw/prompts: file, directory or mirror; of a generated entry, the task


class HubAddress(NamedTuple):
    """`hf:owner/name/config@revision:split`; the last three are optional."""

    name: str
    config: str | None
    revision: str | None
    split: str | None


def parse_entry(text: str) -> Entry:
    """Parse an entry of the configuration.

    Raises:
        ValueError: the form is unknown, or the path leaves `data/raw/prompts`.
    """
    if text.startswith("reasoning_gym:"):
        if match := _GENERATED.fullmatch(text):
            return Entry(text, "generated", match["task"])
        raise ValueError(f"{text!r} is not of the form reasoning_gym:task")
    if text.startswith("hf:"):
        address = hub_address(text)
        revision = (address.revision or "main").replace("/", "--")
        mirror = (
            f"hf/{address.name}/{address.config or 'default'}/{revision}/{address.split or 'data'}.parquet"
        )
        return Entry(text, "hub", _inside(text, f"{MIRRORS}/{mirror}"))
    if text.startswith("s3:"):
        bucket, key = s3_address(text)
        return Entry(text, "s3", _inside(text, f"{MIRRORS}/s3/{bucket}/{key}"))
    return Entry(text, "local", _inside(text, text))


def is_prefix(entry: Entry) -> bool:
    """Whether an entry is an S3 prefix, all objects below it: `s3://bucket/prefix/`."""
    return entry.kind == "s3" and entry.text.endswith("/")


def overlapping(entries: list[Entry]) -> tuple[Entry, Entry] | None:
    """Find two S3 entries, the first inside the second, so that its rows would come twice; None if none."""
    remote = [entry for entry in entries if entry.kind == "s3"]
    for inner, outer in permutations(remote, 2):
        if inner.text != outer.text and PurePosixPath(inner.path).is_relative_to(outer.path):
            return inner, outer
    return None


def hub_address(text: str) -> HubAddress:
    """Parse a hub entry; raises ValueError as `parse_entry` does."""
    if match := _HUB.fullmatch(text):
        return HubAddress(**match.groupdict())
    raise ValueError(f"{text!r} is not of the form hf:owner/name[/config][@revision][:split]")


def s3_address(text: str) -> tuple[str, str]:
    """Parse an S3 entry into bucket and key (or prefix); raises ValueError as `parse_entry` does."""
    if match := _S3.fullmatch(text):
        return match["bucket"], match["key"]
    raise ValueError(f"{text!r} is not of the form s3://bucket/key")


def set_names(entries: tuple[str, ...]) -> dict[str, str]:
    """Name the set of each entry: the stem of its file, or the whole path if two files have the same stem."""
    parsed = [parse_entry(text) for text in entries]
    stems = [_stem(entry) for entry in parsed]
    return {
        entry.text: stem if stems.count(stem) == 1 else entry.path
        for entry, stem in zip(parsed, stems, strict=True)
    }


def _stem(entry: Entry) -> str:
    if entry.kind == "hub":
        address = hub_address(entry.text)
        parts = (address.name.rsplit("/", 1)[1], address.config, address.split)
        return "-".join(part for part in parts if part)
    return entry.path if entry.kind == "generated" else name_of(PurePosixPath(entry.path))


def _inside(text: str, path: str) -> str:
    # DVC watches data/raw/prompts only: a change elsewhere would go unnoticed.
    parts = PurePosixPath(path)
    if not parts.name or parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{text!r} is no file below data/raw/prompts")
    return str(parts)
