"""Where algorithms meet: one reference, and for every seed prompts, stage 1 and a value table of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from apo_core.config.file import set_params
from apo_core.system.files import read_json
from benchmarks.apart import ROOT, ProcessFailed
from tasks.workspace import Workspace

PRESET = ROOT / "presets/embedded.yaml"


def make_base(source: Path, directory: Path, threads: int) -> Workspace:
    """A workspace with the configuration of `source` and its reference, which is made if it is not there.

    Args:
        source: a workspace, or a configuration of the embedded task.
        directory: where it goes; a finished one is used as it is.
        threads: that a stage computes with.
    """
    base = Workspace(directory)
    if base.reference.exists():
        return base
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "data").mkdir(parents=True)
    params = source / "params.yaml" if source.is_dir() else source
    shutil.copyfile(params, base.params)
    _link(params.parent / "data/raw", directory / "data/raw")
    if (params.parent / "data/reference").exists():  # copied: a run there may replace it meanwhile
        shutil.copytree(params.parent / "data/reference", directory / "data/copy")
        (directory / "data/copy").rename(base.reference)
    else:
        run_stage(base, "reference", threads)
    return base


def make_arena(base: Workspace, seed: int, directory: Path, threads: int) -> Workspace:
    """The base's reference with prompts, samples and values of a seed; a finished one is used as it is."""
    arena = Workspace(directory)
    if arena.facts("values").exists():  # what its last stage writes last
        return arena
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "data").mkdir(parents=True)
    shutil.copyfile(base.params, arena.params)
    set_params(arena.params, [f"seed={seed}"])
    _link(base.root / "data/raw", directory / "data/raw")
    _link(base.reference, arena.reference)
    for stage in ("prepare", "sample", "values"):
        run_stage(arena, stage, threads)
    return arena


def enter(arena: Workspace, directory: Path, settings: list[str], threads: int) -> Workspace:
    """A fresh workspace for one training in an arena, under settings of its own.

    Stage 1 is the arena's; values are made again where a setting is of section `values`.
    """
    shutil.rmtree(directory, ignore_errors=True)
    place = Workspace(directory)
    (directory / "data").mkdir(parents=True)
    shutil.copyfile(arena.params, place.params)
    set_params(place.params, settings)
    for name in ("raw", "reference", "prompts.parquet", "samples.parquet"):
        _link(arena.root / "data" / name, directory / "data" / name)
    place.facts("sample").parent.mkdir(parents=True)
    _link(arena.facts("sample"), place.facts("sample"))
    if any(setting.startswith("values.") for setting in settings):
        run_stage(place, "values", threads)
    else:
        _link(arena.values, place.values)
        _link(arena.facts("values"), place.facts("values"))
    return place


def stage1_seconds(place: Workspace) -> float:
    """What A*-PO's values took: both stages with their checks, but for the start of their processes."""
    return sum(float(read_json(place.facts(stage))["seconds"]) for stage in ("sample", "values"))


def stage1_peak_rss_mib(place: Workspace) -> float:
    """The most memory that stage 1 held."""
    return max(float(read_json(place.facts(stage))["peak_rss_mib"]) for stage in ("sample", "values"))


def run_stage(workspace: Workspace, stage: str, threads: int) -> None:
    """Run a stage to its end.

    Raises:
        ProcessFailed: it ended with an error.
    """
    if start_stage(workspace, stage, threads).wait():
        raise ProcessFailed(f"{workspace.root}, stage {stage}: {said_by(workspace, stage)[-2000:]}")


def start_stage(workspace: Workspace, stage: str, threads: int) -> subprocess.Popen[bytes]:
    """A process of a stage, as DVC starts it; see `said_by`."""
    with (workspace.root / f"{stage}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tasks", stage],
            cwd=workspace.root,
            env=dict(os.environ) | {"OMP_NUM_THREADS": str(threads)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def said_by(workspace: Workspace, stage: str) -> str:
    """Output and errors of a stage's last process."""
    return (workspace.root / f"{stage}.log").read_text(encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source.resolve())
