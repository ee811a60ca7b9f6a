"""Make shards by actors of a Ray cluster, each with its own engine, cores and GPUs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry
from apo_core.system.processes import WITHOUT_MODULES
from tasks.responses.jobs import Item, Job, Keep, Sample, Score, Shards
from tasks.responses.local_workers import DYING, MAX_DEATHS, Reply, reply_of, rows_of


def make_on_ray(job: Job[Item], shards: Shards[Item], keep: Keep, *, workers: int | None, gpus: int) -> None:
    """Make shards on the cluster of RAY_ADDRESS, or on a cluster that is started for this.

    Args:
        job: the work; every machine sees its files.
        shards: what is missing.
        keep: is given the shards.
        workers: number of actors; None for as many as the cluster's GPUs suffice for, or one.
        gpus: GPUs per actor, where there are any.

    Raises:
        ApoError: a job refused its input, the actors do not fit, or they keep dying.
    """
    disable_telemetry()
    import ray
    from ray.exceptions import RayActorError
    from ray.util import ActorPool

    # Without an address Ray would join whatever cluster was last started on this machine.
    with chdir(WITHOUT_MODULES):  # actors import first from the directory that Ray is started in
        ray.init(address=os.environ.get("RAY_ADDRESS", "local"), logging_level="warning")
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        number = min(len(shards), workers or _default_workers(nodes, gpus))
        share = _share(nodes, number, gpus)
        # Ray starts a lost actor anew, on another node if need be, and gives it what it had not finished.
        actor = ray.remote(max_restarts=-1, max_task_retries=MAX_DEATHS, max_concurrency=2, **share)(_Actor)
        actors = [actor.remote(job, share["num_cpus"]) for _ in range(number)]
        pool = ActorPool(actors + actors)  # twice: each has a shard to score and one to sample
        for file, reply in pool.map_unordered(
            lambda worker, shard: worker.make_shard.remote(*shard), list(shards.items())
        ):
            keep(file, rows_of(reply))
    except RayActorError:
        raise ApoError(DYING) from None
    finally:
        ray.shutdown()


def _default_workers(nodes: list[dict[str, float]], gpus: int) -> int:
    return sum(int(node.get("GPU", 0)) // gpus for node in nodes) or 1


def _share(nodes: list[dict[str, float]], workers: int, gpus: int) -> dict[str, int]:
    """The part of a node that a worker takes, so that all fit: Ray would wait for ever for one that does not.

    Raises:
        ApoError: they do not fit.
    """
    have_gpus = any(node.get("GPU") for node in nodes)

    def room(node: dict[str, float], cpus: int) -> int:
        by_cpus = int(node.get("CPU", 0)) // cpus
        return min(by_cpus, int(node.get("GPU", 0)) // gpus) if have_gpus else by_cpus

    for cpus in range(max(int(node.get("CPU", 0)) for node in nodes), 0, -1):
        if sum(room(node, cpus) for node in nodes) >= workers:
            return {"num_cpus": cpus} | ({"num_gpus": gpus} if have_gpus else {})
    needed = f" and {gpus} GPUs" if have_gpus else ""
    raise ApoError(f"sampling.workers: {workers} with a core{needed} each do not fit on the Ray cluster")


class _Actor:
    """A job in its actor, whose two threads take turns: one samples, the other scores the shard before.

    An engine belongs to one thread, from its opening with the first shard on.
    """

    def __init__(self, job: Job[Any], own_cores: int) -> None:
        self._job, self._cores = job, own_cores
        self._engine = ExitStack()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._sample: Sample[Any] | None = None

    def make_shard(self, file: Path, items: list[Any]) -> tuple[Path, Reply]:
        """Make a shard: sampled by the engine's thread, scored by this one."""
        return file, reply_of(lambda: self._thread.submit(self._sampled, items).result()())

    def _sampled(self, items: list[Any]) -> Score:
        if self._sample is None:  # only now: what it refuses is a reply, too
            self._sample = self._engine.enter_context(self._job.open(self._cores))
        return self._sample(items)
