"""The doctor's findings on inputs."""

import json

import pytest

from apo_core.config import When
from apo_core.config.file import load_params
from flows.doctor import inputs
from flows.doctor.inputs import examine_inputs
from flows.workspaces import load_preset, preset_text
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


def params_of_files(workspace, *rows, **changes):
    """Preset ci over a file of rows."""
    workspace.raw_prompts.mkdir(parents=True)
    for name in ("train.jsonl", "test.jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (workspace.raw_prompts / name).write_text(text)
    params = load_preset("ci")
    data = params.data.model_copy(
        update={"source": "files", "train_files": ("train.jsonl",), "eval_files": ("test.jsonl",)}
    )
    verifier = params.verifier[0].model_copy(update=changes)
    return params.model_copy(update={"data": data, "verifier": (verifier,)})


def verifier_finding(workspace, params):
    (finding,) = [item for item in examine_inputs(workspace, params) if item.subject == "verifier"]
    return finding


def test_the_first_gold_answers_are_read_by_the_verifier(tmp_path):
    workspace = Workspace(tmp_path)
    params = params_of_files(workspace, {"prompt": "1+1=", "answer": "2"}, {"prompt": "2+1=", "answer": "a"})
    finding = verifier_finding(workspace, params)
    assert not finding.good
    assert finding.detail.startswith("train.jsonl:2: answer: cannot be read by the verifier: ")
    text = params.verifier[0].model_copy(update={"name": "exact", "extract": ("whole",)})
    finding = verifier_finding(workspace, params.model_copy(update={"verifier": (text,)}))
    assert (finding.good, finding.detail) == (True, "exact")


def test_a_set_without_a_verifier_is_named(tmp_path):
    workspace = Workspace(tmp_path)
    params = params_of_files(workspace, {"prompt": "1+1=", "answer": "2"}, when=When(set=("train",)))
    finding = verifier_finding(workspace, params)
    assert not finding.good
    assert "no verifier is for set test" in finding.detail


def test_the_first_prompts_are_of_the_sets_that_a_run_gives_them(tmp_path):
    """By the value of the split column, and by the name of an entry without its endings."""
    workspace = Workspace(tmp_path)
    rows = [{"prompt": "1+1=", "answer": "2", "kind": kind} for kind in ("easy", "hard", "unused")]
    params = params_of_files(workspace, *rows, when=When(set=("easy", "hard")))
    column = {"split": "column", "split_field": "kind", "train_rows": ("easy",), "eval_rows": ("hard",)}
    data = params.data.model_copy(update={**column, "eval_files": ()})
    assert verifier_finding(workspace, params.model_copy(update={"data": data})).good

    (workspace.raw_prompts / "test.jsonl").rename(workspace.raw_prompts / "held.out.jsonl")
    data = params.data.model_copy(update={"eval_files": ("held.out.jsonl",)})
    verifiers = tuple(
        params.verifier[0].model_copy(update={"when": When(set=(name,))}) for name in ("train", "held.out")
    )
    params = params.model_copy(update={"data": data, "verifier": verifiers})
    assert verifier_finding(workspace, params).good


@pytest.mark.parametrize(
    ("attention", "package"),
    [("flash_attention_2", "flash_attn"), ("flash_attention_3", "flash_attn_interface")],
)
def test_an_attention_whose_package_is_missing_is_named(tmp_path, monkeypatch, attention, package):
    params = load_preset("ci")
    train = params.train.model_copy(update={"attention": attention})
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    (finding,) = [
        item
        for item in examine_inputs(Workspace(tmp_path), params.model_copy(update={"train": train}))
        if item.subject == "train.attention"
    ]
    assert (finding.good, finding.detail) == (False, f"{attention}: package {package} is not installed")


def test_torchs_own_attention_needs_no_package(tmp_path):
    subjects = [item.subject for item in examine_inputs(Workspace(tmp_path), load_preset("ci"))]
    assert "train.attention" not in subjects
