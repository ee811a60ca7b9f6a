"""A workspace that is moved or copied takes its registry with it, and touches no other."""

import shutil
from pathlib import Path

import pytest
from builders import execute
from mlflow import MlflowClient


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file with its bytes; not the lock that a run leaves."""
    return {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


@pytest.fixture
def registered(workspace):
    execute("apo run", workspace)
    return workspace


def test_a_copy_is_its_own(registered, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(registered, copy, symlinks=True)
    before = contents(registered)
    execute("apo run --force report", copy)
    assert contents(registered) == before
    assert len(list((copy / ".apo/mlartifacts").glob("*/artifacts"))) == 2
    shutil.rmtree(registered)
    assert_whole(copy)


def test_a_moved_one_keeps_its_champion(registered, tmp_path):
    moved = tmp_path / "else where"
    registered.rename(moved)
    assert_whole(moved)
    execute("apo run --force report", moved)
    assert not registered.exists()
    assert len(list((moved / ".apo/mlartifacts").glob("*/artifacts"))) == 2


def test_a_version_deleted_on_mlflows_page_comes_back_as_itself(registered):
    client = MlflowClient(f"sqlite:///{registered}/.apo/mlflow.db")
    client.delete_model_version("apo-ci", "1")
    assert "apo reconcile apo-ci" in execute("apo run", registered, check=False).stdout
    reconciled = execute("apo reconcile apo-ci", registered).stdout
    assert reconciled.startswith("apo-ci: version 1 is there again\n")
    assert "apo-ci/1" in execute("apo lineage apo-ci/1", registered).stdout
    assert_whole(registered)
    assert "nothing to do" in execute("apo reconcile apo-ci", registered).stdout


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
