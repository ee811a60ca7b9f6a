"""Workspaces made of every preset, up to the point where stages would run."""

import shutil
from pathlib import Path

import pytest

from apo_core.errors import ApoError
from flows.workspaces import make_workspace, presets
from tasks.dvc_state import pending
from tasks.workspace import STAGES


def test_every_preset_makes_a_workspace_whose_stages_are_all_to_run(tmp_path):
    place = make_workspace(tmp_path / "new", "embedded")
    for file in presets().values():
        shutil.copyfile(file, place.params)
        assert pending(place.root) == sorted(STAGES), file.name


def test_two_files_of_one_name_are_refused(tmp_path):
    files = []
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        files.append(tmp_path / directory / "train.jsonl")
        files[-1].write_text("{}")
    with pytest.raises(ApoError, match="two files of prompts have this name"):
        make_workspace(tmp_path / "new", "ci", prompts=files)
    assert not (tmp_path / "new").exists()


def test_an_empty_directory_that_one_stands_in_is_filled(tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    make_workspace(tmp_path / "new", "ci")
    assert {"params.yaml", "dvc.yaml", ".dvc", "data"} <= {path.name for path in Path().iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_directory_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(ApoError, match="not empty"):
        make_workspace(tmp_path, "ci")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
