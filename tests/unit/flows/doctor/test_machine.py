"""What the doctor says of a workspace."""

from apo_core.config.file import load_params
from flows.doctor.machine import examine_workspace
from flows.workspaces import preset_text
from tasks.lock import note_progress, only_run
from tasks.workspace import Workspace


def test_a_run_at_work_is_named_and_no_problem(tmp_path, root, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Workspace(tmp_path)
    place.params.write_text(preset_text("ci"))
    with only_run(place):
        note_progress(place, "train: step 3")
        found = {one.subject: one for one in examine_workspace(place, load_params(place.params))}
    assert found["dvc"].good
    assert "another run is at work here (process " in found["dvc"].detail
    assert "train: step 3" in found["dvc"].detail
