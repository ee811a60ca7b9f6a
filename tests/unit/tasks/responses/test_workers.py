"""How workers share a Ray cluster; tests/integration runs real workers."""

from pathlib import Path

import pytest

from apo_core.errors import ApoError
from tasks.responses.ray_workers import _default_workers, _share
from tasks.responses.workers import Workers


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "share"),
    [
        ([{"CPU": 8}, {"CPU": 8}, {"CPU": 8}], 4, 1, {"num_cpus": 4}),
        ([{"CPU": 8}, {"CPU": 8}, {"CPU": 8}], 3, 1, {"num_cpus": 8}),
        ([{"CPU": 1}, {"CPU": 1}], 2, 1, {"num_cpus": 1}),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 64}], 2, 2, {"num_cpus": 8, "num_gpus": 2}),
    ],
)
def test_all_workers_fit_on_the_cluster(nodes, workers, gpus, share):
    assert _share(nodes, workers, gpus) == share


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus"),
    [([{"CPU": 1}, {"CPU": 1}], 3, 1), ([{"CPU": 16, "GPU": 4}, {"CPU": 64}], 3, 2)],
)
def test_workers_that_do_not_fit_are_refused(nodes, workers, gpus):
    with pytest.raises(ApoError, match=f"{workers} with a core.* each do not fit"):
        _share(nodes, workers, gpus)


def test_a_cluster_has_as_many_workers_as_its_gpus_suffice_for():
    nodes = [{"CPU": 16, "GPU": 4}, {"CPU": 64}, {"CPU": 8, "GPU": 3}]
    assert [_default_workers(nodes, gpus) for gpus in (1, 2, 4)] == [7, 3, 1]
    assert _default_workers([{"CPU": 64}], 1) == 1


@pytest.mark.parametrize(
    ("number", "gpus", "available", "shards", "workers"),
    [
        (None, 1, 0, 10, 1),
        (None, 1, 1, 10, 1),
        (None, 1, 4, 10, 4),
        (None, 2, 5, 10, 2),
        (None, 4, 2, 10, 1),
        (None, 1, 8, 3, 8),
        (3, 1, 4, 10, 3),
        (2, 1, 0, 10, 2),
        (2, 1, 0, 1, 2),  # cores are divided as they were when there were more
    ],
)
def test_workers_are_those_of_the_configuration_or_one_per_gpu(
    monkeypatch, number, gpus, available, shards, workers
):
    monkeypatch.setattr("tasks.responses.workers.count_gpus", lambda: available)
    chosen = []
    monkeypatch.setattr("tasks.responses.workers.make_here", lambda job, shards, keep: chosen.append(1))
    monkeypatch.setattr(
        "tasks.responses.workers.make_on_processes",
        lambda job, shards, keep, *, workers, gpus: chosen.append(workers),
    )
    missing = {Path(str(number)): [number] for number in range(shards)}
    Workers(executor="local", number=number, gpus=gpus).make(None, missing, None)
    assert chosen == [workers]
