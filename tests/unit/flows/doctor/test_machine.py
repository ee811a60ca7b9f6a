"""The doctor's findings on a workspace."""

from apo_core.config.file import load_params
from flows.doctor.machine import examine_workspace
from flows.workspaces import preset_text
from tasks.lock import note_progress, only_run
from tasks.workspace import Workspace


def test_a_run_at_work_is_named_and_no_problem(tmp_path, root, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace(tmp_path)
    workspace.params.write_text(preset_text("ci"))
    with only_run(workspace):
        note_progress(workspace, "train: step 3")
        findings = {
            finding.subject: finding
            for finding in examine_workspace(workspace, load_params(workspace.params))
        }
    assert findings["dvc"].good
    assert "another run is at work here (process " in findings["dvc"].detail
    assert "train: step 3" in findings["dvc"].detail
