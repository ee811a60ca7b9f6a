"""Shards made one after another, by processes of this machine, or by actors of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from apo_core.errors import ApoError
from apo_core.processes import set_parent_death_signal

Item = TypeVar("Item")
Make = Callable[[list[Item]], pd.DataFrame]
# Files that are missing and what goes into them, to those that were made, in any order.
Run = Callable[[Mapping[Path, list[Item]]], Iterator[tuple[Path, pd.DataFrame]]]
_LOST = 3  # workers in a row that may die without finishing a shard


class Job(Protocol[Item]):
    """Work that a worker process can do by itself; it is pickled."""

    def open(self) -> AbstractContextManager[Make[Item]]:
        """What makes the rows of a shard, for as long as its engine is open."""
        ...


def in_turn(make: Make[Item]) -> Run[Item]:
    """One after another, by what is open already."""

    def run(shards: Mapping[Path, list[Item]]) -> Iterator[tuple[Path, pd.DataFrame]]:
        for file, items in shards.items():
            yield file, make(items)

    return run


def spread(job: Job[Item], *, executor: str, workers: int, gpus: int) -> Run[Item]:
    """By so many workers, each with an engine of its own; one that is lost is replaced.

    Args:
        job: the work.
        executor: "local" for this machine, "ray" for the cluster of RAY_ADDRESS, or one made for this.
        workers: how many; a single local one is this process.
        gpus: that a worker's engine takes, where there are any.
    """

    def run(shards: Mapping[Path, list[Item]]) -> Iterator[tuple[Path, pd.DataFrame]]:
        if not shards:
            return
        if executor == "ray":
            yield from _on_ray(job, shards, min(workers, len(shards)), gpus)
        elif workers > 1:
            yield from _on_processes(job, shards, min(workers, len(shards)), gpus)
        else:
            with job.open() as make:
                yield from in_turn(make)(shards)

    return run


def _on_processes(
    job: Job[Item], shards: Mapping[Path, list[Item]], workers: int, gpus: int
) -> Iterator[tuple[Path, pd.DataFrame]]:
    left, lost = dict(shards), 0
    while left:
        context = multiprocessing.get_context("spawn")
        started = context.Value("i", 0)
        settings = (job, started, workers, gpus)
        with ProcessPoolExecutor(workers, context, _begin, settings) as pool:
            waiting: dict[Future[pd.DataFrame], Path] = {
                pool.submit(_make, items): file for file, items in left.items()
            }
            try:
                for future in as_completed(waiting):
                    file = waiting[future]
                    yield file, future.result()
                    del left[file]
                    lost = 0
            except BrokenProcessPool:  # one was killed: the others' unfinished shards are gone with it
                lost += 1
                if lost == _LOST:
                    raise ApoError(f"{_LOST} sampling workers died without finishing a shard") from None
                print(f"a sampling worker died; {len(left)} shards are left", flush=True)


_OPEN = ExitStack()  # of a worker process; it ends with the process
_WORK: list[Make[Any]] = []


def _begin(job: Job[Any], started: Any, workers: int, gpus: int) -> None:
    """Open the engine of a new worker process, on cores and GPUs that are its own."""
    set_parent_death_signal()
    with started.get_lock():
        number = started.value
        started.value += 1
    torch = sys.modules.get("torch")  # there if the job's engine needs it
    if torch is not None:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
        if torch.version.cuda:  # to ask for the GPUs would settle which are seen
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_own_gpus(number, gpus))
    _WORK.append(_OPEN.enter_context(job.open()))


def _own_gpus(number: int, gpus: int) -> list[str]:
    """The worker's part of the GPUs that this run may use."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(index) for index in range((number + 1) * gpus)]
    return names[number * gpus : (number + 1) * gpus]


def _make(items: list[Any]) -> pd.DataFrame:
    return _WORK[0](items)


def _on_ray(
    job: Job[Item], shards: Mapping[Path, list[Item]], workers: int, gpus: int
) -> Iterator[tuple[Path, pd.DataFrame]]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.util import ActorPool

    ray.init(address=os.environ.get("RAY_ADDRESS"), logging_level="warning")
    try:
        cluster = ray.cluster_resources()
        share = {"num_cpus": max(1, int(cluster.get("CPU", 1)) // workers)}
        if cluster.get("GPU"):
            share["num_gpus"] = gpus
        # Ray starts a lost actor anew, on another node if need be, and gives it what it had not finished.
        actor = ray.remote(max_restarts=-1, max_task_retries=-1, **share)(_Actor)
        pool = ActorPool([actor.remote(job) for _ in range(workers)])
        yield from pool.map_unordered(lambda one, shard: one.make.remote(*shard), list(shards.items()))
    finally:
        ray.shutdown()


class _Actor:
    def __init__(self, job: Job[Any]) -> None:
        self.open = ExitStack()
        self.work = self.open.enter_context(job.open())

    def make(self, file: Path, items: list[Any]) -> tuple[Path, pd.DataFrame]:
        return file, self.work(items)
