"""Restoring a version: what becomes of the files that it replaces."""

import subprocess

import pytest

from apo_core.errors import ApoError
from flows.workspaces import preset_text
from tasks.dvc.run import dvc_command
from tasks.lineage.restore import restore_version
from tasks.tracking.registry import Registered
from tasks.tracking.store import connect
from tasks.workspace import Workspace

LOCK = "schema: '2.0'\nstages: {}\n"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with a DVC remote and parameters of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    new_workspace = Workspace(tmp_path / "workspace")
    (new_workspace.root / "data/raw/prompts").mkdir(parents=True)
    (new_workspace.root / "dvc.yaml").write_text(
        "stages: {}\n"
    )  # stages' outputs are restored in test_production.py
    new_workspace.params.write_text("mine: 1\n")
    subprocess.run([*dvc_command(), "init", "--quiet", "--no-scm"], cwd=new_workspace.root, check=True)
    (tmp_path / "remote").mkdir()
    with (new_workspace.root / ".dvc/config").open("a") as file:
        file.write(f"    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'remote'}\n")
    return new_workspace


@pytest.mark.slow
def test_what_is_replaced_is_kept_and_where_is_said(workspace, root):
    client, lines = connect(workspace), []
    kept_here = client.create_experiment("e", (workspace.root / "artifacts").as_uri())
    run = client.create_run(kept_here).info.run_id
    registered = Registered(name="m", version="1", aliases=[], run_id=run)
    with pytest.raises(ApoError, match=r"has no lineage/dvc.lock, reports/report.json, lineage/params.yaml"):
        restore_version(client, workspace, registered, lines.append)
    assert workspace.params.read_text() == "mine: 1\n"
    assert not [line for line in lines if "as they were" in line]

    theirs = preset_text("ci")
    for path, text in {
        "lineage/dvc.lock": LOCK,
        "reports/report.json": "{}",
        "lineage/params.yaml": theirs,
    }.items():
        client.log_text(run, text, path)
    restore_version(client, workspace, registered, lines.append)
    assert workspace.params.read_text() == theirs
    (said,) = [line for line in lines if "as they were" in line]
    (kept,) = [
        file for file in (workspace.state / "replaced").rglob("params.yaml") if str(file.parent) in said
    ]
    assert kept.read_text() == "mine: 1\n"
