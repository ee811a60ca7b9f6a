"""A workspace's own `tasks.py`, `flows/` and `apo_core.py` never run instead of this project's."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from builders import copy_of, execute

from apo_core.system.environment import keep_imports_safe
from tasks.dvc.state import pending
from tasks.stages.launcher import launch_command
from tasks.workspace import STAGES

HOSTILE = "open({marker!r}, 'a').write(__file__)\nraise RuntimeError(__file__)\n"
# A user's own verifier runs in worker processes, and its modules may import each other.
VERIFIER = """
from mine_too import numbers

def score(completion, answer, row):
    return numbers(completion)[-1:] == [answer]
"""
VERIFIER_TOO = """
import re

def numbers(text):
    return re.findall(r"-?[0-9]+", text)
"""
SMALL = (
    "verifier.name=mine:score",
    "verifier.extract=[whole]",
    "reference.scratch.steps=40",
    "data.train_prompts=24",
    "data.eval_prompts=12",
    "sampling.n=2",
    "sampling.shard_prompts=8",
    "values.drop_unsolved=false",
    "train.steps=2",
    "train.batch_size=8",
    "train.ranks=2",
    "evaluation.samples=1",
    "verifier.max_error_share=0.0",
)
OLD, NEW = "exec python -m tasks", "exec python -P -m tasks"


def make_hostile(workspace: Path, marker: Path) -> None:
    (workspace / "flows").mkdir()
    for name in ("tasks.py", "flows/__init__.py", "apo_core.py"):
        (workspace / name).write_text(HOSTILE.format(marker=str(marker)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A hostile workspace after `apo run`. Hostile files that run write their path to `marker` beside it."""
    base = tmp_path_factory.mktemp("hostile")
    workspace = base / "workspace"
    execute(f"apo init {workspace} --preset ci", base)
    (workspace / "data/raw/verifiers/mine.py").write_text(VERIFIER)
    (workspace / "data/raw/verifiers/mine_too.py").write_text(VERIFIER_TOO)
    make_hostile(workspace, base / "marker")
    execute("apo run " + " ".join(f"--set {override}" for override in SMALL), workspace)
    return workspace


@pytest.fixture
def workspace(finished, tmp_path) -> Path:
    """A copy of the finished workspace, made hostile, to change; its files write to a marker of their own."""
    copy = copy_of(finished, tmp_path / "workspace")
    for ours in ("flows", "apo_core", "tasks"):  # the finished workspace is a checkout
        shutil.rmtree(copy / ours, ignore_errors=True)
    make_hostile(copy, tmp_path / "marker")
    return copy


@pytest.fixture
def with_verifier(ran, tmp_path) -> Path:
    """A copy of the hostile workspace with a verifier of its own, to change."""
    copy = tmp_path / "workspace"
    shutil.copytree(ran, copy, ignore=shutil.ignore_patterns("flows", ".apo"))
    make_hostile(copy, tmp_path / "marker")
    return copy


def ran_hostile(workspace: Path) -> str:
    """The paths of the hostile files that have run; empty when none has."""
    marker = workspace.with_name("marker")
    return marker.read_text() if marker.exists() else ""


@pytest.mark.production
def test_a_whole_run_on_two_ranks_imports_nothing_of_the_workspace(ran):
    assert ran_hostile(ran) == ""
    assert json.loads((ran / "reports/stages/train.json").read_text())["ranks"] == 2
    assert json.loads((ran / "reports/summary.json").read_text())["decision"]["outcome"]


def test_a_stage_that_dvc_runs_by_itself_imports_nothing_of_the_workspace(workspace):
    execute("dvc repro --single-item --force values && dvc repro --single-item --force validate", workspace)
    assert ran_hostile(workspace) == ""


def remove_samples(workspace: Path) -> None:
    """Remove the sampled responses, in DVC's cache too."""
    shutil.rmtree(workspace / "data/unfinished", ignore_errors=True)
    shutil.rmtree(workspace / ".dvc/cache")


@pytest.mark.production
def test_several_sampling_workers_import_nothing_of_the_workspace(with_verifier):
    remove_samples(with_verifier)
    before = (with_verifier / "data/samples.parquet").read_bytes()
    execute("apo stage sample --force --set sampling.workers=2", with_verifier)
    assert ran_hostile(with_verifier) == ""
    assert (with_verifier / "data/samples.parquet").read_bytes() == before


@pytest.mark.production
def test_workers_on_ray_import_nothing_of_the_workspace(with_verifier):
    pytest.importorskip("ray", reason="Ray is not installed (apo-flow[ray])")
    remove_samples(with_verifier)
    before = (with_verifier / "data/samples.parquet").read_bytes()
    execute("apo stage sample --force --set sampling.workers=2 --set sampling.executor=ray", with_verifier)
    assert ran_hostile(with_verifier) == ""
    assert (with_verifier / "data/samples.parquet").read_bytes() == before


@pytest.mark.production
def test_the_stages_of_an_earlier_version_run_by_apo_and_are_refused_to_dvc(workspace):
    file = workspace / "dvc.yaml"
    file.write_text(file.read_text().replace(NEW, OLD))
    execute("apo stage values --force", workspace)
    assert ran_hostile(workspace) == ""
    # DVC by itself would run these before this project's code.
    for name in ("tasks.py", "flows", "apo_core.py"):
        shutil.rmtree(workspace / name) if (workspace / name).is_dir() else (workspace / name).unlink()
    done = execute("dvc repro --single-item --force values", workspace, check=False)
    assert done.returncode != 0
    (refused,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert "dvc.yaml is of an earlier version" in refused
    execute(refused.partition("run: ")[2], workspace)
    assert file.read_text().count(NEW) == len(STAGES)
    assert pending(workspace) == []  # finished outputs are kept


def test_ranks_on_other_hosts_import_nothing_of_the_workspace(tmp_path):
    """DeepSpeed starts ranks in the workspace and puts it on PYTHONPATH; our environment is passed on."""
    make_hostile(tmp_path, tmp_path.with_name("marker"))
    command = launch_command(2, str(tmp_path / "hosts"))
    rank = command[command.index("--no_python") + 1 :]
    env = dict(os.environ) | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*rank[:-2], "nothing"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ran_hostile(tmp_path) == ""
    assert "usage: python -P -m tasks" in done.stderr


def test_child_processes_do_not_import_from_their_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    keep_imports_safe()
    make_hostile(tmp_path, tmp_path.with_name("marker"))
    command = "python -m tasks; python -c 'import tasks, flows, apo_core'"
    done = execute(command, tmp_path, check=False)
    assert ran_hostile(tmp_path) == ""
    assert "usage: python -P -m tasks" in done.stdout
