"""Shards made one after another, by processes of this machine, or by actors of a Ray cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry, show_gpus
from apo_core.system.processes import WITHOUT_MODULES, set_parent_death_signal

Item = TypeVar("Item")
Make = Callable[[list[Item]], pd.DataFrame]
# Files that are missing and what goes into them, to those that were made, in any order.
Run = Callable[[Mapping[Path, list[Item]]], Iterator[tuple[Path, pd.DataFrame]]]
Made = pd.DataFrame | str  # rows, or what was refused: an error of ours is not pickled as it was
_LOST = 3  # workers in a row that may die without finishing a shard
_DYING = f"{_LOST} sampling workers died without finishing a shard"


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
    _check_gpus(workers * gpus)
    left, lost = dict(shards), 0
    while left:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, _begin, (job, context.Value("i", 0), workers, gpus))
        waiting = {pool.submit(_make, items): file for file, items in left.items()}
        try:
            for future in as_completed(waiting):
                yield waiting[future], _rows(future.result())
                del left[waiting[future]]
                lost = 0
        except BrokenProcessPool:  # one was killed: the others' unfinished shards are gone with it
            lost += 1
            if lost == _LOST:
                raise ApoError(_DYING) from None
            print(f"a sampling worker died; {len(left)} shards are left", flush=True)
        finally:  # whatever ends this, shards that have not begun are not worth waiting for
            pool.shutdown(cancel_futures=True)


def _check_gpus(needed: int) -> None:
    torch = sys.modules.get("torch")  # there if the job's engine needs it
    found = torch.cuda.device_count() if torch is not None else 0
    if 0 < found < needed:  # a worker that sees none would sample on the processor without a word
        raise ApoError(f"sampling.workers: they need {needed} GPUs, there are {found}")


_OPEN = ExitStack()  # of a worker process; it ends with the process
_JOB: list[Job[Any]] = []
_WORK: list[Make[Any]] = []


def _begin(job: Job[Any], started: Any, workers: int, gpus: int) -> None:
    """Settle in a new worker process, on cores and GPUs that are its own."""
    set_parent_death_signal()
    with started.get_lock():
        number = started.value
        started.value += 1
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        if torch.version.cuda:  # to ask for the GPUs would settle which are seen
            show_gpus(",".join(_own_gpus(number, gpus)))
    _JOB.append(job)


def _own_gpus(number: int, gpus: int) -> list[str]:
    """The worker's part of the GPUs that this run may use."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range((number + 1) * gpus)] if seen is None else seen.split(",")
    return names[number * gpus : (number + 1) * gpus]


def _make(items: list[Any]) -> Made:
    """Here and not when the worker begins: what an engine refuses as it opens is to be read, too."""
    try:
        if not _WORK:
            _WORK.append(_OPEN.enter_context(_JOB[0].open()))
        return _WORK[0](items)
    except ApoError as error:
        return str(error)


def _rows(made: Made) -> pd.DataFrame:
    if isinstance(made, str):
        raise ApoError(made)
    return made


def _on_ray(
    job: Job[Item], shards: Mapping[Path, list[Item]], workers: int, gpus: int
) -> Iterator[tuple[Path, pd.DataFrame]]:
    disable_telemetry()
    import ray
    from ray.exceptions import RayActorError
    from ray.util import ActorPool

    # Without an address Ray would join whatever cluster was last started on this machine.
    with contextlib.chdir(WITHOUT_MODULES):  # its workers import from the directory that it is begun in first
        ray.init(address=os.environ.get("RAY_ADDRESS", "local"), logging_level="warning")
    try:
        share = _share([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, gpus)
        # Ray starts a lost actor anew, on another node if need be, and gives it what it had not finished.
        actor = ray.remote(max_restarts=-1, max_task_retries=_LOST, **share)(_Actor)
        pool = ActorPool([actor.remote(job) for _ in range(workers)])
        made_ones = pool.map_unordered(lambda one, shard: one.make.remote(*shard), list(shards.items()))
        for file, made in made_ones:
            yield file, _rows(made)
    except RayActorError:
        raise ApoError(_DYING) from None
    finally:
        ray.shutdown()


def _share(nodes: list[dict[str, float]], workers: int, gpus: int) -> dict[str, int]:
    """What of a node a worker takes, so that all fit: for one that does not Ray would wait for ever.

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
    def __init__(self, job: Job[Any]) -> None:
        _JOB[:] = [job]

    def make(self, file: Path, items: list[Any]) -> tuple[Path, Made]:
        return file, _make(items)
