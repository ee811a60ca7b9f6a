"""Workspaces made of every preset, up to the point where stages would run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from apo_core.config.file import load_params
from apo_core.errors import ApoError
from flows.doctor.inputs import refuse_missing_inputs
from flows.workspaces import make_workspace, presets
from tasks.dvc.state import pending
from tasks.workspace import STAGES


@pytest.mark.slow
def test_every_preset_makes_a_workspace_whose_stages_are_all_to_run(tmp_path):
    workspace = make_workspace(tmp_path / "new", "embedded")
    for file in presets().values():
        shutil.copyfile(file, workspace.params)
        assert pending(workspace.root) == list(STAGES), file.name


def test_two_files_of_one_name_are_refused(tmp_path):
    files = []
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        files.append(tmp_path / directory / "train.jsonl")
        files[-1].write_text("{}")
    with pytest.raises(ApoError, match="two files of prompts have this name"):
        make_workspace(tmp_path / "new", "ci", train_prompts=files[:1], eval_prompts=files[1:])
    assert not (tmp_path / "new").exists()


def test_prompts_are_copied_and_named_in_the_configuration(tmp_path):
    for name in ("mine.jsonl", "theirs.jsonl"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / "mine.jsonl"], [tmp_path / "theirs.jsonl"]
    workspace = make_workspace(
        tmp_path / "new", "gsm8k-smollm2", train_prompts=files[0], eval_prompts=files[1]
    )
    data = load_params(workspace.params).data
    assert (data.source, data.train_files, data.eval_files) == ("files", ("mine.jsonl",), ("theirs.jsonl",))
    assert (workspace.raw_prompts / "mine.jsonl").read_text() == "mine.jsonl"
    with pytest.raises(ApoError, match="for training and for evaluation, or for neither"):
        make_workspace(tmp_path / "other", "gsm8k-smollm2", train_prompts=files[0])
    assert not (tmp_path / "other").exists()


def test_prompts_may_be_of_any_format_or_a_directory(tmp_path):
    (tmp_path / "many").mkdir()
    for name in ("many/a.csv", "theirs.json", "notes.txt"):
        (tmp_path / name).write_text(name)
    files = {"train_prompts": [tmp_path / "many"], "eval_prompts": [tmp_path / "theirs.json"]}
    workspace = make_workspace(tmp_path / "new", "gsm8k-smollm2", **files)
    assert load_params(workspace.params).data.train_files == ("many",)
    assert (workspace.raw_prompts / "many/a.csv").read_text() == "many/a.csv"
    with pytest.raises(
        ApoError, match=r"notes.txt: is no .jsonl, .ndjson, .json, .csv or .parquet file, nor"
    ):
        make_workspace(
            tmp_path / "other", "gsm8k-smollm2", **files | {"eval_prompts": [tmp_path / "notes.txt"]}
        )


def test_what_is_missing_is_refused_before_anything_runs(tmp_path):
    workspace = make_workspace(tmp_path / "new", "gsm8k-smollm2")
    with pytest.raises(ApoError, match=r"prompts: missing in .*: train.jsonl, test.jsonl"):
        refuse_missing_inputs(workspace, load_params(workspace.params))
    for name in ("train.jsonl", "test.jsonl"):
        (workspace.raw_prompts / name).write_text("{}")
    with pytest.raises(ApoError, match=r"prompts: .*train.jsonl:1: question: is missing"):
        refuse_missing_inputs(workspace, load_params(workspace.params))
    for name in ("train.jsonl", "test.jsonl"):
        (workspace.raw_prompts / name).write_text('{"question": "1+1?", "answer": "#### 2"}')
    with pytest.raises(ApoError, match=r"model: .*data/raw/model"):
        refuse_missing_inputs(workspace, load_params(workspace.params))


def test_an_empty_directory_that_one_stands_in_is_filled(tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    make_workspace(tmp_path / "new", "ci")
    assert {"params.yaml", "dvc.yaml", ".dvc", "data"} <= {path.name for path in Path().iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_repository_that_is_new_is_filled(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "new"], check=True)
    make_workspace(tmp_path / "new", "ci")
    assert {".git", "params.yaml", "prefect.yaml", ".dvc"} <= {
        path.name for path in (tmp_path / "new").iterdir()
    }
    assert "no_scm" not in (tmp_path / "new/.dvc/config").read_text()


def test_a_directory_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(ApoError, match="not empty"):
        make_workspace(tmp_path, "ci")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
