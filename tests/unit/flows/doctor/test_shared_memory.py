"""What the doctor says of /dev/shm."""

import pytest

from apo_core.system.shared_memory import bytes_in_all, bytes_needed
from flows.doctor.shared_memory import compare, examine_shared_memory
from flows.workspaces import load_preset

DOCKER = 64 * 2**20  # a container's, by default


@pytest.mark.parametrize(
    ("gpus", "available", "good"),
    [(0, 0, True), (1, DOCKER, True), (2, DOCKER, False), (2, 2**30 - 1, False), (4, 2**30, True)],
)
def test_gpus_that_work_together_need_more_than_a_container_has(gpus, available, good):
    finding = compare(bytes_needed(gpus=gpus), available)
    assert finding.good is good
    assert ("--shm-size" in finding.detail) is not good


def test_without_gpus_a_run_needs_none_of_it():
    finding = examine_shared_memory(load_preset("embedded"))
    assert finding.good
    assert finding.detail == f"/dev/shm has {bytes_in_all() / 2**20:,.0f} MiB, of which a run needs 0"
