"""What `make gpu` reports, on a GPU; and the logic of its checks, on the processor."""

import json
import sys
import time

import pytest
from builders import ROOT, execute
from gpu.__main__ import rows_of
from gpu.every import CHECKS

_SECONDS = 600


@pytest.mark.gpu
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_holds_on_a_gpu(check):
    rows = rows_of(check, "cuda", time.monotonic() + _SECONDS)
    left_out = [row.result for row in rows if row.verdict == "left out"]
    if left_out:
        pytest.skip(left_out[0])
    assert not [row for row in rows if row.verdict == "fails"]


@pytest.mark.production
def test_all_that_a_processor_can_show_holds(tmp_path):
    command = f"{sys.executable} -m gpu {tmp_path} --device cpu --minutes 60"
    execute(command, ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    left_out = {row["check"]: row["result"] for row in rows if row["verdict"] == "left out"}
    assert set(left_out.values()) <= {"trl is not installed"}
    assert {row["check"] for row in rows} == {check.name for check in CHECKS}
    assert (tmp_path / "gpu.md").read_text().count("\n|") >= len(rows)
