"""MLflow runs that are closed, on MLflow's own SQLite store."""

import shutil

import pytest
from mlflow import MlflowClient

from flows.workspaces import load_preset
from tasks.tracking.runs import DEPLOYMENT_TAG, finish_run, start_run, version_page
from tasks.tracking.store import connect
from tasks.workspace import Workspace

PARAMS = load_preset("ci")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store, made once: making one takes seconds."""
    workspace = Workspace(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(workspace)
    return workspace.state / "mlflow.db"


@pytest.fixture
def client(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(store, tmp_path / 'mlflow.db')}")
    return connect(Workspace(tmp_path))


def status(client, run_id):
    return client.get_run(run_id).info.status


@pytest.mark.slow
def test_a_killed_run_is_closed_by_the_next_one_of_its_workspace_or_deployment(client, tmp_path):
    def start(workspace, deployment=None):
        tags = {} if deployment is None else {DEPLOYMENT_TAG: deployment}
        return start_run(client, Workspace(tmp_path / workspace), PARAMS, tags)

    by_hand, others, elsewhere = start("kept"), start("other", "second"), start("temporary", "first")
    own = start("kept", "first")
    assert [status(client, run_id) for run_id in (by_hand, others, elsewhere, own)] == [
        "KILLED",
        "RUNNING",
        "KILLED",
        "RUNNING",
    ]
    start("third")  # a run of no deployment closes none of another place
    assert status(client, own) == "RUNNING"


def test_a_run_that_has_done_all_is_finished_and_no_other(client, tmp_path):
    done, failed, removed = (start_run(client, Workspace(tmp_path / name), PARAMS, {}) for name in "abc")
    client.set_terminated(failed, "FAILED")
    client.delete_run(removed)
    for run_id in (done, failed, removed, "f" * 32):
        finish_run(client, run_id)
    assert [status(client, run_id) for run_id in (done, failed, removed)] == ["FINISHED", "FAILED", "RUNNING"]


def test_a_version_has_a_page_where_a_server_shows_it(client):
    server = MlflowClient("http://trainer:secret@host:5000/")
    assert version_page(server, "a model", "2") == "http://host:5000/#/models/a%20model/versions/2"
    assert version_page(client, "a model", "2") is None
