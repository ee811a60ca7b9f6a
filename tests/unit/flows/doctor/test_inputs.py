"""The doctor's findings on inputs."""

from apo_core.config.file import load_params
from flows.doctor.inputs import examine_inputs
from flows.workspaces import preset_text
from tasks.workspace import Workspace


def test_a_sandbox_that_is_missing_is_named(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    text = preset_text("ci").replace("name: numeric", "name: code").replace("[last]", "[code]")
    workspace.params.write_text(text)
    (tmp_path / "bin").mkdir()
    bwrap = tmp_path / "bin/bwrap"
    bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", str(bwrap.parent))
    (finding,) = [
        finding
        for finding in examine_inputs(workspace, load_params(workspace.params))
        if finding.subject == "verifier"
    ]
    assert not finding.good
    assert "bubblewrap makes no sandbox here" in finding.detail
    assert "No permissions to create new namespace" in finding.detail
