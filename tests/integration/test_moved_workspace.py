"""A workspace that is moved or copied takes its registry with it, and touches no other."""

import shutil
from pathlib import Path

import pytest
from builders import copy_of, execute
from mlflow import MlflowClient


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file with its bytes; not the lock that a run leaves."""
    return {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def original(finished, tmp_path_factory) -> Path:
    """A workspace with a champion in a registry of its own."""
    workspace = copy_of(finished, tmp_path_factory.mktemp("original") / "workspace")
    execute("apo run", workspace)
    return workspace


@pytest.fixture
def copy(original, tmp_path) -> Path:
    """A copy of the original, which stays as it is."""
    before = contents(original)
    copy = tmp_path / "copy"
    shutil.copytree(original, copy, symlinks=True)
    yield copy
    assert contents(original) == before


@pytest.mark.production
def test_a_copy_is_its_own(copy, original):
    execute("apo run --force report", copy)
    assert len(list((copy / ".apo/mlartifacts").glob("*/artifacts"))) == 2
    away = original.rename(original.with_name("away"))
    try:
        assert_whole(copy)
    finally:
        away.rename(original)


def test_a_moved_one_keeps_its_champion(copy, original, tmp_path):
    moved = copy.rename(tmp_path / "else where")
    away = original.rename(original.with_name("away"))  # what is recorded is nowhere else
    try:
        assert_whole(moved)
        execute("apo run --force report", moved)
        assert not copy.exists() and not original.exists()
    finally:
        away.rename(original)
    assert len(list((moved / ".apo/mlartifacts").glob("*/artifacts"))) == 2


@pytest.mark.production
def test_a_version_deleted_on_mlflows_page_comes_back_as_itself(copy):
    client = MlflowClient(f"sqlite:///{copy}/.apo/mlflow.db")
    client.delete_model_version("apo-ci", "1")
    assert "apo reconcile apo-ci" in execute("apo run", copy, check=False).stdout
    reconciled = execute("apo reconcile apo-ci", copy).stdout
    assert reconciled.startswith("apo-ci: version 1 is there again\n")
    assert "apo-ci/1" in execute("apo lineage apo-ci/1", copy).stdout
    assert_whole(copy)
    assert "nothing to do" in execute("apo reconcile apo-ci", copy).stdout


def assert_whole(workspace: Path) -> None:
    """The champion and its record are found, and are in this workspace."""
    assert "apo-ci/1" in execute("apo lineage apo-ci@champion", workspace).stdout
    assert execute("apo fsck", workspace).stdout == "everything is as it is recorded\n"
    client = MlflowClient(f"sqlite:///{workspace}/.apo/mlflow.db")
    location = (workspace / ".apo/mlartifacts").as_uri()
    (version,) = client.search_model_versions("name = 'apo-ci'")
    run = client.get_run(version.run_id).info
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    for address in (run.artifact_uri, logged.artifact_location):
        assert address.startswith(location)
