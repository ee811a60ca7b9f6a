import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from apo_core.errors import ApoError
from tasks import lock
from tasks.lock import note_progress, only_process, only_run, refuse_second_run
from tasks.workspace import Workspace, check_room


@pytest.mark.slow
def test_a_second_run_is_refused_and_names_the_first(tmp_path):
    with only_run(Workspace(tmp_path)):
        for _ in range(2):  # a refused run does not take the holder's number away
            with (
                pytest.raises(ApoError, match=rf"another run is at work here \(process {os.getpid()}\)"),
                only_run(Workspace(tmp_path)),
            ):
                pass
    with only_run(Workspace(tmp_path)):
        pass


def test_a_second_run_learns_how_far_the_first_is(tmp_path):
    for line, shown in (("train:  10%", "; train:  10%"), ("", "")):
        with only_run(Workspace(tmp_path)):  # progress of an earlier run is not shown
            with pytest.raises(ApoError, match=rf"process {os.getpid()}\)"):
                refuse_second_run(Workspace(tmp_path))
            note_progress(Workspace(tmp_path), line)
            with pytest.raises(ApoError, match=rf"process {os.getpid()}{shown}\)"):
                refuse_second_run(Workspace(tmp_path))


def test_a_look_changes_nothing_and_keeps_no_run_from_starting(tmp_path):
    workspace = Workspace(tmp_path)
    refuse_second_run(workspace)
    assert not list(tmp_path.iterdir())
    with only_run(workspace):
        pass
    with (workspace.state / "run.lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)  # as `refuse_second_run` does, and for longer
        refuse_second_run(workspace)
        threading.Timer(0.2, lambda: fcntl.flock(looker, fcntl.LOCK_UN)).start()
        with only_run(workspace):
            pass


def test_a_stage_has_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_KILL_SECONDS", 0.3)
    workspace = Workspace(tmp_path)
    with only_process(workspace, "train"):
        with only_process(workspace, "sample"):
            pass
        with (
            pytest.raises(ApoError, match="train: another process is still at work"),
            only_process(workspace, "train"),
        ):
            pass
    with only_process(workspace, "train"):
        pass


def test_a_killed_run_holds_nothing(tmp_path):
    script = (
        "import os, signal, pathlib\n"
        "from tasks.lock import only_run\n"
        "from tasks.workspace import Workspace, check_room\n"
        f"with only_run(Workspace(pathlib.Path({str(tmp_path)!r}))):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with only_run(Workspace(tmp_path)):
        pass


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ApoError, match=r"\.apo: its file system keeps no locks \(No locks available\)"):
        enter(tmp_path)


def test_a_run_needs_room_for_its_records_and_who_looks_needs_none(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=15 * 2**20))
    with pytest.raises(
        ApoError, match=r"\.apo: what Prefect and MLflow record of a run needs 16 MiB free, 15"
    ):
        check_room(Workspace(tmp_path))
    with only_run(Workspace(tmp_path)):
        pass


LONG = f"{'d' * 200}/{'d' * 200}/{'e' * 90}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a?b", r"has a `\?` in its path"),
        ("a\\b", r"has a `\\` in its path"),
        ("{a}", "has a `{` in its path"),
        ("a}", "has a `}` in its path"),
        (LONG, "bytes too long"),
    ],
)
def test_a_path_that_sqlite_or_dvc_does_not_find_again_is_refused_and_nothing_is_made(
    tmp_path, name, problem
):
    with pytest.raises(ApoError, match=problem):
        enter(tmp_path / name)
    assert not (tmp_path / name).exists()


def enter(directory):
    with only_run(Workspace(directory)):
        raise AssertionError("a run there")
