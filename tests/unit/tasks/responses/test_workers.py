"""How workers share a Ray cluster; tests/integration runs real workers."""

import pytest

from apo_core.errors import ApoError
from tasks.responses.workers import _share


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
