"""Which runs are closed at Prefect: all that began in the workspace and are at work no more."""

import httpx
import pytest

from flows import dead_run
from flows.dead_run import close_dead_runs, note_run
from tasks.lock import only_run
from tasks.workspace import Workspace

FIRST, SECOND, OWN = (f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3))


@pytest.fixture
def closed(monkeypatch):
    """The numbers of the runs that were closed."""
    numbers = []
    monkeypatch.setattr(dead_run, "_close", lambda number: numbers.append(str(number)))
    return numbers


def test_every_run_before_this_one_is_closed_once(tmp_path, closed):
    workspace = Workspace(tmp_path)
    close_dead_runs(workspace, OWN)
    for number in (FIRST, SECOND, OWN, OWN):  # two were killed before they held the lock
        note_run(workspace, number)
    close_dead_runs(workspace, OWN)
    close_dead_runs(workspace, OWN)
    assert closed == [FIRST, SECOND]


def test_who_only_looks_leaves_a_run_at_work_alone(tmp_path, closed):
    workspace = Workspace(tmp_path)
    note_run(workspace, FIRST)
    with only_run(workspace):
        close_dead_runs(workspace)
        assert closed == []
    close_dead_runs(workspace)
    close_dead_runs(workspace)
    assert closed == [FIRST]


def test_a_server_that_refuses_ends_nothing(tmp_path, monkeypatch):
    def refuse(_):
        raise httpx.ConnectError("away")

    monkeypatch.setattr(dead_run, "_close", refuse)
    note_run(Workspace(tmp_path), FIRST)
    close_dead_runs(Workspace(tmp_path), OWN)
