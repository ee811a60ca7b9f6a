"""How DVC is asked and read; the stages themselves are run in tests/integration."""

import os
import shutil
import subprocess
import threading
import time

import pytest

from apo_core.errors import ApoError
from tasks.dvc import StageFailed, StageRefused, _failure, _lines, dvc_command, pending
from tasks.workspace import STAGES


@pytest.fixture
def workspace(tmp_path, root):
    place = tmp_path / "workspace"
    (place / "data/raw/prompts").mkdir(parents=True)
    (place / "data/raw/model").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(root / name, place / name)
    subprocess.run([*dvc_command(), "init", "--quiet", "--no-scm"], cwd=place, check=True)
    return place


@pytest.mark.parametrize("cwd", [".", "..", "/"])
def test_what_has_changed_does_not_depend_on_where_one_asks_from(workspace, monkeypatch, cwd):
    monkeypatch.chdir(workspace / cwd)
    assert pending(workspace) == sorted(STAGES)
    assert pending(workspace, ["sample"]) == ["sample"]


def test_a_directory_that_is_no_workspace_is_refused(tmp_path):
    with pytest.raises(ApoError, match="is no workspace"):
        pending(tmp_path)


def test_a_checkout_without_git_is_refused_in_one_line(tmp_path, root):
    (tmp_path / ".dvc").mkdir()
    shutil.copyfile(root / ".dvc/config", tmp_path / ".dvc/config")
    with pytest.raises(ApoError, match="is in no git repository; run `git init`"):
        pending(tmp_path)


def test_a_line_that_nothing_follows_is_not_held_back():
    read, write = os.pipe()
    found = []

    def collect():
        with os.fdopen(read, "rb") as stream:
            found.extend((line, time.monotonic()) for line in _lines(stream))

    thread = threading.Thread(target=collect)
    thread.start()
    os.write(write, b"\rtrain:  10%\rtrain:  20%")
    time.sleep(1.5)
    closed = time.monotonic()
    os.write(write, b"\nlast")
    os.close(write)
    thread.join(timeout=10)
    assert [line for line, _ in found] == ["train:  10%", "train:  20%", "last"]
    assert found[1][1] < closed


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (
            ["error: a.jsonl:3: answer: is missing", "ERROR: failed: process exited with 2"],
            StageRefused,
            "prepare: a.jsonl:3: answer: is missing",
        ),
        (["ERROR: missing data source"], StageRefused, "prepare: dvc: missing data source"),
        (["ERROR: 'data' is busy, it is being blocked by:"], StageFailed, "prepare failed"),
        (["Traceback", "ERROR: failed: process exited with -9"], StageFailed, "prepare failed"),
    ],
)
def test_only_what_cannot_mend_itself_is_not_retried(lines, kind, text):
    failure = _failure("prepare", lines)
    assert type(failure) is kind
    assert text in str(failure)
