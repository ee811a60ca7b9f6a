"""Hold what lies in a workspace against what `dvc.lock` records of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from apo_core.errors import StageRefused
from tasks.integrity.aside import put_aside
from tasks.integrity.copies import opened
from tasks.integrity.recorded import Recorded, md5_of, md5s_in, recorded_inputs, recorded_outputs
from tasks.workspace import Workspace

NOTHING = "nothing"  # the hash of a file that is not there


class DamagedOutput(StageRefused):
    """What a stage wrote is not what is there now."""


class Damage(NamedTuple):
    """A file that is not as it was written."""

    stage: str
    file: str
    """Below the workspace."""
    recorded: str
    """Its hash; `nothing` where nothing should be."""
    actual: str
    """The hash of what is there; `nothing` where a file is missing from a directory."""

    def __str__(self) -> str:
        recorded = f"md5 {self.recorded} is recorded, found {self.actual}"
        return f"{self.file}: is not what stage {self.stage} wrote: {recorded}"


def check_outputs(workspace: Workspace, stages: Iterable[str]) -> None:
    """Refuse outputs of these stages that are not as they were written; those that are missing DVC makes.

    Raises:
        DamagedOutput: names the file, both hashes, and what to do.
    """
    _refuse(workspace, recorded_outputs(workspace, stages))


def check_inputs(workspace: Workspace, stage: str) -> None:
    """Refuse what a stage is about to read and another wrote, where it is not as it was written.

    However new it is: `dvc pull` and `apo fsck` write after `dvc.lock`, too, and who edits an output by hand
    records that with `dvc commit`.

    Raises:
        DamagedOutput: names the file, both hashes, and what to do.
    """
    _refuse(workspace, recorded_inputs(workspace, stage))


def is_as_written(workspace: Workspace, output: Recorded) -> bool:
    """Whether an output is there with the bytes that are recorded; all of them are read."""
    path = workspace.root / output.path
    return path.exists() and path.is_dir() == output.is_directory and md5_of(path) == output.md5


def drop_damaged_copies(workspace: Workspace, output: Recorded) -> bool:
    """Move damaged copies of an output out of DVC's cache, which DVC would restore; were there any?"""
    with opened(workspace, "cache") as cache:
        assert cache is not None
        files = (cache.listing(output.md5) or {}) if output.is_directory else {}
        damaged = [md5 for md5 in {*files.values(), output.md5} if cache.is_damaged(md5)]
        for md5 in damaged:
            cache.drop(md5, workspace.damaged)
    return bool(damaged)


def remove_damaged(workspace: Workspace) -> list[str]:
    """Move outputs that are not as they were written out of the way, with DVC's copies; a line for each."""
    problems = []
    for output in _damaged(workspace, recorded_outputs(workspace)):
        problems.append(str(_first_damage(workspace, output)))
        drop_damaged_copies(workspace, output)
        put_aside(workspace, workspace.root / output.path, f"workspace/{output.path}")
    return problems


def _refuse(workspace: Workspace, outputs: Iterable[Recorded]) -> None:
    for output in _damaged(workspace, outputs):
        damage = _first_damage(workspace, output)
        copy = "; so was the copy in DVC's cache" if drop_damaged_copies(workspace, output) else ""
        raise DamagedOutput(
            f"{damage}{copy}; `apo fsck` puts it back if DVC's cache or remote has it whole, "
            f"`apo run --force {output.stage}` makes it again, "
            f"`dvc commit -f {output.stage}` records a change that you made"
        )


def _damaged(workspace: Workspace, outputs: Iterable[Recorded]) -> Iterator[Recorded]:
    """Those that are there, and not as they were written."""
    for output in outputs:
        if (workspace.root / output.path).exists() and not is_as_written(workspace, output):
            yield output


def _first_damage(workspace: Workspace, output: Recorded) -> Damage:
    """The first file that differs; the directory as a whole, where no list of its files is left."""
    path = workspace.root / output.path
    actual = md5_of(path)
    with opened(workspace, "cache") as cache:
        assert cache is not None
        listed = cache.listing(output.md5) if output.is_directory else None
    if listed is None or not actual.endswith(".dir"):  # a file, or a directory that cannot be listed
        return Damage(output.stage, output.path, output.md5, actual)
    present = md5s_in(path)
    name = min(name for name in {*listed, *present} if listed.get(name) != present.get(name))
    return Damage(
        output.stage, f"{output.path}/{name}", listed.get(name, NOTHING), present.get(name, NOTHING)
    )
