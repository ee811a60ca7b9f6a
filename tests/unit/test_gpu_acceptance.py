"""The report of `make gpu`: what it says of checks that hold, fail, break or cannot run."""

import time
from dataclasses import replace

import pytest
from gpu import __main__ as acceptance
from gpu.check import Check, Finding, at_most
from gpu.every import CHECKS, check_named


def findings(device):
    yield Finding(what="speed", result=f"12 on {device}")
    yield at_most("difference", 0.25, 0.5)
    yield at_most("difference", float("nan"), 0.5)


def test_a_figure_is_neither_good_nor_bad_and_nan_is_bad():
    rows = Check("mine", findings).rows("cpu")
    assert [row.verdict for row in rows] == ["figure", "holds", "fails"]
    assert rows[0].result == "12 on cpu"
    assert {row.check for row in rows} == {"mine"}


@pytest.mark.parametrize(
    ("needs", "reason"),
    [(("torch",), None), (("torch", "no_such"), "no_such is not installed"), ((), None)],
)
def test_what_cannot_run_here_is_left_out_by_name(needs, reason):
    assert Check("mine", findings, needs=needs).reason_to_leave_out() == reason


def test_no_check_begins_without_time_for_it():
    (row,) = acceptance.rows_of(replace(CHECKS[0], run=findings), "cpu", time.monotonic() + 1)
    assert (row.verdict, row.result) == ("left out", "no time was left")


@pytest.mark.slow
def test_a_check_that_breaks_fails_and_says_why():
    (row,) = acceptance.rows_of(replace(CHECKS[0], name="of no such name"), "cpu", time.monotonic() + 600)
    assert row.verdict == "fails"
    assert "of no such name" in row.result


def test_a_check_of_ranks_is_launched_on_every_gpu(monkeypatch):
    monkeypatch.setattr(acceptance, "_gpus", lambda: 4)
    many = Check("mine", findings, on_every_gpu=True)
    assert "--nproc-per-node=4" in acceptance.command_of(many, "cuda")
    assert "torch.distributed.run" not in acceptance.command_of(many, "cpu")
    assert "torch.distributed.run" not in acceptance.command_of(Check("mine", findings), "cuda")


def test_checks_have_names_of_their_own():
    assert [check_named(check.name) for check in CHECKS] == list(CHECKS)
