"""Workspaces of the comparison: a base (the reference), one per seed (stage 1), one per training.

All seeds share the reference policy. A seed's workspace has its own prompts, samples and V*; a training's
workspace links to its seed's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from apo_core.config.file import set_params
from apo_core.system.files import read_json
from apo_core.system.processes import python_module
from benchmarks.processes import ROOT, ProcessFailed
from tasks.workspace import Workspace

PRESET = ROOT / "presets/embedded.yaml"
PIPELINE = ROOT / "dvc.yaml"  # stages look up their inputs in it


def make_base_workspace(source: Path, directory: Path, threads: int) -> Workspace:
    """Make a workspace with the configuration and the reference policy of `source`.

    Where `source` has no reference policy, stage `reference` makes one.

    Args:
        source: A workspace, or the configuration file of a task that needs no data.
        directory: The new workspace; one that is complete already is used as it is.
        threads: Number of threads of a stage's process.
    """
    base = Workspace(directory)
    if base.reference.exists():
        return base
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "data").mkdir(parents=True)
    params = source / "params.yaml" if source.is_dir() else source
    shutil.copyfile(params, base.params)
    _link(PIPELINE, directory / PIPELINE.name)
    _link(params.parent / "data/raw", directory / "data/raw")
    if (params.parent / "data/reference").exists():  # copied: a run in `source` may replace it meanwhile
        shutil.copytree(params.parent / "data/reference", directory / "data/copy")
        (directory / "data/copy").rename(base.reference)
    else:
        run_stage(base, "reference", threads)
    return base


def make_seed_workspace(base: Workspace, seed: int, directory: Path, threads: int) -> Workspace:
    """Make a seed's workspace: the base's reference, and the seed's own prompts, samples and V*.

    One that is complete already is used as it is.
    """
    workspace = Workspace(directory)
    if workspace.facts("values").exists():  # the last file that the last stage writes
        return workspace
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "data").mkdir(parents=True)
    shutil.copyfile(base.params, workspace.params)
    _link(PIPELINE, directory / PIPELINE.name)
    set_params(workspace.params, [f"seed={seed}"])
    _link(base.root / "data/raw", directory / "data/raw")
    _link(base.reference, workspace.reference)
    for stage in ("prepare", "sample", "values"):
        run_stage(workspace, stage, threads)
    return workspace


def make_training_workspace(
    seed_workspace: Workspace, directory: Path, overrides: list[str], threads: int
) -> Workspace:
    """Make a fresh workspace for one training on a seed's prompts, samples and V*.

    V* is computed again if one of the overrides (`key=value`) is of section `values`.
    """
    shutil.rmtree(directory, ignore_errors=True)
    workspace = Workspace(directory)
    (directory / "data").mkdir(parents=True)
    shutil.copyfile(seed_workspace.params, workspace.params)
    _link(PIPELINE, directory / PIPELINE.name)
    set_params(workspace.params, overrides)
    for name in ("raw", "reference", "prompts.parquet", "samples.parquet"):
        _link(seed_workspace.root / "data" / name, directory / "data" / name)
    workspace.facts("sample").parent.mkdir(parents=True)
    _link(seed_workspace.facts("sample"), workspace.facts("sample"))
    if any(override.startswith("values.") for override in overrides):
        run_stage(workspace, "values", threads)
    else:
        _link(seed_workspace.values, workspace.values)
        _link(seed_workspace.facts("values"), workspace.facts("values"))
    return workspace


def stage1_seconds(workspace: Workspace) -> float:
    """Seconds of stages `sample` and `values`, their checks included, the start of their processes not."""
    return sum(float(read_json(workspace.facts(stage))["seconds"]) for stage in ("sample", "values"))


def stage1_peak_rss_mib(workspace: Workspace) -> float:
    """Peak memory of stages `sample` and `values`."""
    return max(float(read_json(workspace.facts(stage))["peak_rss_mib"]) for stage in ("sample", "values"))


def run_stage(workspace: Workspace, stage: str, threads: int) -> None:
    """Run a stage and wait for its end.

    Raises:
        ProcessFailed: The stage ended with an error.
    """
    if start_stage(workspace, stage, threads).wait():
        raise ProcessFailed(f"{workspace.root}, stage {stage}: {stage_output(workspace, stage)[-2000:]}")


def start_stage(workspace: Workspace, stage: str, threads: int) -> subprocess.Popen[bytes]:
    """Start a stage in a process of its own, as DVC does; `stage_output` reads what the process prints."""
    with (workspace.root / f"{stage}.log").open("wb") as log:
        return subprocess.Popen(
            python_module("tasks", stage),
            cwd=workspace.root,
            env=dict(os.environ) | {"OMP_NUM_THREADS": str(threads)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def stage_output(workspace: Workspace, stage: str) -> str:
    """Output and errors of a stage's last process."""
    return (workspace.root / f"{stage}.log").read_text(encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source.resolve())
