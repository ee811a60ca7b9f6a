"""What `dvc.lock` records of the bytes that each stage wrote, and the hashes of what lies there now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from apo_core.errors import ApoError
from tasks.workspace import STAGES, Workspace

_DIRECTORY = ".dir"  # ends the hash of a directory, which is that of the list of its files


class Recorded(NamedTuple):
    """A file or directory that a stage wrote."""

    stage: str
    path: str
    """Below the workspace."""
    md5: str
    """Of the bytes of a file; of a directory as DVC makes it: see `md5_of`."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.md5.endswith(_DIRECTORY)


def recorded_outputs(workspace: Workspace, stages: Iterable[str] = STAGES) -> list[Recorded]:
    """The outputs of stages as `dvc.lock` has them, in order; none of a stage that never ran.

    Args:
        workspace: with or without `dvc.lock`.
        stages: names of stages.
    """
    asked = set(stages)
    outputs = outputs_in(workspace.lock) if workspace.lock.exists() else []
    return [output for output in outputs if output.stage in asked]


def outputs_in(lock: Path) -> list[Recorded]:
    """The outputs that a `dvc.lock` names, in the order of the stages.

    Raises:
        ApoError: it is damaged.
    """
    record = _parse(lock)
    try:
        return [
            Recorded(stage, output["path"], output["md5"])
            for stage in STAGES
            for output in record["stages"].get(stage, {}).get("outs", ())
            if "md5" in output  # a remote that keeps versions of its own has others
        ]
    except (AttributeError, KeyError, TypeError):  # another form than DVC's: cut off, say
        raise ApoError(
            f"{lock}: is damaged: it is not as DVC writes it; `apo run` puts the last whole one back"
        ) from None


def recorded_inputs(workspace: Workspace, stage: str) -> list[Recorded]:
    """What earlier stages wrote and a stage reads, as `dvc.lock` has it."""
    read = set(_parse(workspace.root / "dvc.yaml")["stages"][stage].get("deps", ()))
    return [output for output in recorded_outputs(workspace) if output.path in read]


def md5_of(path: Path) -> str:
    """Hash a file's bytes; a directory as DVC does: the list of its files with their hashes.

    Everything is read: DVC itself takes a file whose size and times are the same for the same. What cannot be
    read has the reason for a hash, see `unreadable`.
    """
    try:
        return md5_of_listing(md5s_in(path)) if path.is_dir() else _md5_of_file(path)
    except OSError as error:  # a directory that cannot be listed
        return unreadable(error)


def md5s_in(directory: Path) -> dict[str, str]:
    """The hash of every file below a directory, by its path there; see `md5_of`."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return {file.relative_to(directory).as_posix(): _md5_of_file(file) for file in files}


def unreadable(error: OSError) -> str:
    """What stands in the place of a hash where bytes cannot be read."""
    return f"unreadable: {error.strerror or error}"


def md5_of_listing(md5s: dict[str, str]) -> str:
    """The hash that DVC gives a directory of such files."""
    return hashlib.md5(listing(md5s), usedforsecurity=False).hexdigest() + _DIRECTORY


def listing(md5s: dict[str, str]) -> bytes:
    """The list of a directory's files, as DVC's cache keeps it."""
    # DVC sorts by the parts of a path.
    rows = [{"md5": md5s[path], "relpath": path} for path in sorted(md5s, key=lambda path: path.split("/"))]
    return json.dumps(rows, sort_keys=True).encode()


def parse_listing(text: bytes) -> dict[str, str]:
    """The files of a directory with their hashes, from the list in DVC's cache."""
    return {row["relpath"]: row["md5"] for row in json.loads(text)}


def _md5_of_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        return unreadable(error)


def _parse(file: Path) -> Any:
    try:
        return YAML(typ="safe").load(file)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ApoError(f"{file}: is damaged: {str(error).splitlines()[0]}") from None
