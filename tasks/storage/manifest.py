"""`manifest.json` of a published model: its files, with hashes. Written last, read first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from apo_core.errors import InputError
from tasks.storage.checksums import Checksums

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
    """All files of a published model, and what the registry recorded of it."""

    model: str
    version: str
    tags: dict[str, str]
    """Tags of the registered version: commit, fingerprint, hash of `dvc.lock`, and others."""
    bytes: int
    files: Annotated[list[FileEntry], Field(min_length=1)]
    """Sorted by path."""

    def difference(self, other: Manifest) -> str | None:
        """The path of the first file that is not the same in both, or None; tags may differ."""
        own = {file.path: file for file in self.files}
        theirs = {file.path: file for file in other.files}
        return next((path for path in sorted({*own, *theirs}) if own.get(path) != theirs.get(path)), None)

    def text(self) -> str:
        """The manifest as JSON: the same manifest gives the same bytes."""
        return self.model_dump_json(indent=2) + "\n"


def make_manifest(
    model: str, version: str, tags: dict[str, str], checksums: dict[str, Checksums]
) -> Manifest:
    """The manifest of a model whose files have these checksums, by path."""
    files = [
        FileEntry(path=path, bytes=checksums[path].bytes, sha256=checksums[path].sha256)
        for path in sorted(checksums)
    ]
    ordered = {name: tags[name] for name in sorted(tags)}
    total = sum(file.bytes for file in files)
    return Manifest(model=model, version=version, tags=ordered, bytes=total, files=files)


def parse_manifest(address: str | Path, text: str | bytes) -> Manifest:
    """Parse a manifest; whoever may write to the bucket could have written anything.

    Raises:
        InputError: the text is no manifest; names the address and the field.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(address, f"is no manifest: {first['msg']}", field=field or None) from None
