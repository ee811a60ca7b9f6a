"""The DVC commands and how their output is read; tests/integration runs the stages themselves."""

import errno
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from apo_core.errors import ApoError, StageFailed, StageRefused
from tasks.dvc.remote import has_remote
from tasks.dvc.repo import WorkspaceBusy
from tasks.dvc.run import _failure, _lines, dvc_command, run_stage
from tasks.dvc.state import drop_dead_locks, dvc_held_off, keep_record, pending
from tasks.integrity.copies import opened
from tasks.workspace import STAGES, Workspace


@pytest.fixture(scope="module")
def workspace_template(tmp_path_factory, root):
    directory = tmp_path_factory.mktemp("dvc") / "workspace"
    (directory / "data/raw/prompts").mkdir(parents=True)
    (directory / "data/raw/model").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(root / name, directory / name)
    subprocess.run([*dvc_command(), "init", "--quiet", "--no-scm"], cwd=directory, check=True)
    return directory


@pytest.fixture
def workspace(workspace_template, tmp_path):
    return Path(shutil.copytree(workspace_template, tmp_path / "workspace"))


@pytest.mark.parametrize("cwd", [".", "..", "/"])
def test_what_has_changed_does_not_depend_on_where_one_asks_from(workspace, monkeypatch, cwd):
    monkeypatch.chdir(workspace / cwd)
    assert pending(workspace) == list(STAGES)
    assert pending(workspace, ["sample"]) == ["sample"]


def test_a_workspace_that_git_ignores_is_refused_and_not_up_to_date(workspace):
    """DVC itself skips such a stage silently."""
    subprocess.run(["git", "init", "-q"], cwd=workspace.parent, check=True)
    (workspace / ".dvc/config").write_text("[core]\n    analytics = false\n")
    assert pending(workspace) == list(STAGES)
    (workspace.parent / ".gitignore").write_text("/workspace/\n")
    with pytest.raises(ApoError, match="workspace: git ignores it, and so does DVC"):
        pending(workspace)


def rwlock(workspace, pid):
    file = workspace / ".dvc/tmp/rwlock"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"write": {str(workspace / "data/policy"): {"pid": pid, "cmd": "dvc repro"}}}))
    return file


def test_a_workspace_at_work_is_busy_and_not_a_bug(workspace):
    file = rwlock(workspace, os.getpid())
    with pytest.raises(WorkspaceBusy, match="DVC is at work here"):
        pending(workspace)
    assert file.exists()


def test_the_lock_of_a_process_that_is_gone_is_dropped(workspace):
    holder = subprocess.Popen(["sleep", "60"])
    try:  # the holder has the process id of the one that wrote the lock an hour ago
        file = rwlock(workspace, holder.pid)
        os.utime(file, (time.time() - 3600,) * 2)
        assert pending(workspace) == list(STAGES)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # the holder is dead and not reaped yet
        rwlock(workspace, holder.pid)
        assert pending(workspace) == list(STAGES)
    finally:
        holder.kill()
        holder.wait()


WHOLE_LOCK = """schema: '2.0'
stages:
  reference:
    cmd: one
    deps:
    - path: data/raw/model
      md5: 0123456789abcdef0123456789abcdef
    outs:
    - path: data/reference
      md5: fedcba9876543210fedcba9876543210
"""


@pytest.mark.parametrize(
    "damaged",
    [
        *("schema: '2.0'\nstages:\n  refer", "", "[]"),
        *(WHOLE_LOCK[: WHOLE_LOCK.index(end) + len(end)] for end in ("stages:", "deps:\n", "outs:\n")),
        WHOLE_LOCK.replace("outs:", "nuts:"),
        WHOLE_LOCK.replace("one", "on\xe5"),
    ],
)
def test_a_damaged_record_is_restored_from_its_copy(workspace, damaged):
    paths = Workspace(workspace)
    paths.lock.write_text(WHOLE_LOCK)
    keep_record(paths)
    paths.lock.write_text(damaged, encoding="latin-1")
    assert pending(workspace) == list(STAGES)
    assert paths.lock.read_text() == WHOLE_LOCK


def test_a_configuration_with_conflicts_is_one_line(workspace):
    (workspace / ".dvc/config").write_text("<<<<<<< HEAD\n[core]\n=======\n>>>>>>> other\n")
    for question in (lambda: pending(workspace), lambda: has_remote(Workspace(workspace))):
        with pytest.raises(ApoError, match=r"\.dvc/config: "):
            question()


def test_an_output_that_cannot_be_read_is_one_line(workspace, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "data/policy")

    monkeypatch.setattr("dvc.repo.Repo.status", refuse)
    with pytest.raises(ApoError, match=r"^data/policy: Input/output error$"):
        pending(workspace)
    with dvc_held_off(workspace) as changed:  # `apo fsck` looks at the others
        assert changed() == set(STAGES)


def test_a_copy_without_hidden_files_is_one_line(workspace):
    shutil.rmtree(workspace / ".dvc")
    for question in (lambda: pending(workspace), lambda: has_remote(Workspace(workspace))):
        with pytest.raises(ApoError, match="was it copied without its hidden files"):
            question()
    with (
        pytest.raises(ApoError, match="was it copied without its hidden files"),
        opened(Workspace(workspace), "cache"),
    ):
        pass


def test_a_damaged_record_without_a_copy_is_one_line(workspace):
    (workspace / "dvc.lock").write_text("")
    with pytest.raises(ApoError, match="is damaged"):
        pending(workspace)


def test_a_directory_that_is_no_workspace_is_refused(tmp_path):
    with pytest.raises(ApoError, match="is no workspace"):
        pending(tmp_path)


def test_a_checkout_without_git_is_refused_in_one_line(tmp_path, root):
    (tmp_path / ".dvc").mkdir()
    shutil.copyfile(root / ".dvc/config", tmp_path / ".dvc/config")
    with pytest.raises(ApoError, match="is in no git repository; run `git init`"):
        pending(tmp_path)


def test_a_stage_is_heard_without_dvcs_hints_and_by_those_who_look(workspace):
    subprocess.run(["git", "init", "--quiet"], cwd=workspace, check=True)
    (workspace / ".dvc/config").write_text("")  # hints are given under git only
    (workspace / "dvc.yaml").write_text(
        "stages: {prepare: {cmd: echo heard; echo > data/new, outs: [data/new]}}"
    )
    log = []
    assert run_stage(workspace, "prepare", log.append) == "ran"
    assert log == ["Running stage 'prepare':", "> echo heard; echo > data/new", "heard"]
    assert (Workspace(workspace).state / "run.progress").read_text() == "heard"
    assert run_stage(workspace, "prepare", log.append) == "unchanged"


@pytest.mark.slow
def test_a_line_that_nothing_follows_is_not_held_back():
    read, write = os.pipe()
    timed_lines = []

    def collect():
        with os.fdopen(read, "rb") as stream:
            timed_lines.extend((line, time.monotonic()) for line in _lines(stream))

    thread = threading.Thread(target=collect)
    thread.start()
    os.write(write, b"\rtrain:  10%\rtrain:  20%")
    time.sleep(1.5)
    closed = time.monotonic()
    os.write(write, b"\nlast")
    os.close(write)
    thread.join(timeout=10)
    assert [line for line, _ in timed_lines] == ["train:  10%", "train:  20%", "last"]
    assert timed_lines[1][1] < closed


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (
            ["error: a.jsonl:3: answer: is missing", "ERROR: failed: process exited with 2"],
            StageRefused,
            "prepare: a.jsonl:3: answer: is missing",
        ),
        (["ERROR: no such remote"], StageRefused, "prepare: dvc: no such remote"),
        (
            ["ERROR: failed to reproduce: [Errno 2] No such file or directory: '/w/data/reference'"],
            StageRefused,
            "prepare: /w/data/reference: is not there; `apo run` runs the stages before this one",
        ),
        (["ERROR: 'data' is busy, it is being blocked by:"], StageFailed, "prepare failed"),
        (["ERROR: Unable to acquire lock. Most likely"], StageFailed, "prepare failed"),
        (["error: not ours", "ERROR: failed: process exited with 28"], StageFailed, "prepare failed"),
        (["Traceback", "ERROR: failed: process exited with -9"], StageFailed, "prepare failed"),
    ],
)
def test_only_what_cannot_mend_itself_is_not_retried(lines, kind, text):
    failure = _failure("prepare", lines)
    assert type(failure) is kind
    assert text in str(failure)


def test_a_merge_that_is_not_resolved_is_refused_and_nothing_is_put_in_its_place(workspace):
    paths = Workspace(workspace)
    paths.lock.write_text("schema: '2.0'\nstages: {}\n")
    keep_record(paths)
    conflict = "<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> other\nstages: {}\n"
    paths.lock.write_text(conflict)
    with pytest.raises(ApoError, match=r"dvc\.lock: has merge conflicts; take one side"):
        pending(workspace)
    assert paths.lock.read_text() == conflict


def test_a_lock_that_git_ignores_is_refused_in_one_line(workspace):
    subprocess.run(["git", "init", "--quiet"], cwd=workspace, check=True)
    (workspace / ".dvc/config").write_text("")
    (workspace / ".gitignore").write_text("*.lock\n")
    (workspace / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(ApoError, match="git ignores"):
        pending(workspace)


def test_a_look_leaves_a_workspace_that_may_only_be_read_as_it_is(workspace, monkeypatch):
    file = rwlock(workspace, 2**22 - 1)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    drop_dead_locks(workspace)
    assert file.exists()


def test_a_look_puts_no_whole_record_aside_for_another_file_that_is_damaged(workspace):
    paths = Workspace(workspace)
    paths.lock.write_text("schema: '2.0'\nstages: {}\n")
    keep_record(paths)
    newer = "schema: '2.0'\nstages:\n  values:\n    cmd: x\n"
    paths.lock.write_text(newer)
    (workspace / "dvc.yaml").write_text("<<<<<<< HEAD\n")
    with pytest.raises(ApoError, match="is damaged"):
        pending(workspace)
    assert paths.lock.read_text() == newer
