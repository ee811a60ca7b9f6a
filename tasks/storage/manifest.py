"""`manifest.json` of a published model: what belongs to it, with hashes. Written last, read first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from apo_core.errors import InputError
from tasks.storage.checksums import Sums

MANIFEST = "manifest.json"


def _inside(path: str) -> str:
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")) or path == MANIFEST:
        raise ValueError(f"{path!r} is no file of a model")
    return path


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class FileEntry(_Part):
    """One file of the model."""

    path: Annotated[str, AfterValidator(_inside)]
    """Below the model's directory, with `/` between its parts."""
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Part):
    """All of a published model."""

    model: str
    version: str
    tags: dict[str, str]
    """Of the version in the registry: the commit, the fingerprint, the hash of `dvc.lock`, and others."""
    bytes: int
    files: Annotated[list[FileEntry], Field(min_length=1)]
    """By path."""

    def difference(self, other: Manifest) -> str | None:
        """The first file that is not the same in both, or None. What is recorded beside may change."""
        own = {file.path: file for file in self.files}
        theirs = {file.path: file for file in other.files}
        return next((path for path in sorted({*own, *theirs}) if own.get(path) != theirs.get(path)), None)

    def text(self) -> str:
        """As it is written: the same manifest, the same bytes."""
        return self.model_dump_json(indent=2) + "\n"


def make_manifest(model: str, version: str, tags: dict[str, str], sums: dict[str, Sums]) -> Manifest:
    """The manifest of files with these sums, by path."""
    files = [FileEntry(path=path, bytes=sums[path].bytes, sha256=sums[path].sha256) for path in sorted(sums)]
    ordered = {name: tags[name] for name in sorted(tags)}
    total = sum(file.bytes for file in files)
    return Manifest(model=model, version=version, tags=ordered, bytes=total, files=files)


def parse_manifest(address: str | Path, text: str | bytes) -> Manifest:
    """Read a manifest; whoever may write to the bucket could have written anything.

    Raises:
        InputError: it is none; names the address and the field.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(address, f"is no manifest: {first['msg']}", field=field or None) from None
