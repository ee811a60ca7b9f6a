"""Make shards one after another, in worker processes of this machine, or by actors of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, chdir, closing, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pandas as pd

from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry, show_gpus
from apo_core.system.processes import WITHOUT_MODULES, set_parent_death_signal

Item = TypeVar("Item")
MakeShard = Callable[[list[Item]], pd.DataFrame]
# The files of missing shards, each with the items that its rows are made from.
Shards = Mapping[Path, list[Item]]
# Shards that are finished, in any order.
Finished = Generator[tuple[Path, pd.DataFrame], None, None]
# Rows, or the text of an `ApoError`, whose class does not survive pickling.
Reply = pd.DataFrame | str
_MAX_DEATHS = 3  # workers that may die of one shard
_DYING = f"{_MAX_DEATHS} sampling workers died without finishing a shard"


class Job(Protocol[Item]):
    """Work that a worker can do by itself; it is pickled."""

    def open(self) -> AbstractContextManager[MakeShard[Item]]:
        """Open the engine; what is entered makes the rows of a shard."""
        ...


def run_serially(make_shard: MakeShard[Item], shards: Shards[Item]) -> Finished:
    """Make one shard after another in this process."""
    for file, items in shards.items():
        yield file, make_shard(items)


def run_on_workers(
    job: Job[Item], shards: Shards[Item], *, executor: str, workers: int, gpus: int
) -> Finished:
    """Make shards on several workers, each with its own engine; a worker that is lost is replaced.

    Args:
        job: the work.
        shards: what is missing; where nothing is, no engine is opened.
        executor: "local" for this machine, "ray" for the cluster of RAY_ADDRESS, or one started for this.
        workers: number of workers; a single local one is this process.
        gpus: GPUs per worker, where there are any.

    Raises:
        ApoError: a job refused its input, the workers do not fit, or they keep dying.
    """
    if not shards:
        return
    workers = min(workers, len(shards))
    if executor == "ray":
        yield from _run_on_ray(job, shards, workers, gpus)
    elif workers > 1:
        yield from _run_on_processes(job, shards, workers, gpus)
    else:
        with job.open() as make_shard:
            yield from run_serially(make_shard, shards)


def _run_on_processes(job: Job[Item], shards: Shards[Item], workers: int, gpus: int) -> Finished:
    _check_gpus(workers * gpus)
    missing, deaths = deque(shards), Counter[Path]()
    with ExitStack() as stack:
        idle = [stack.enter_context(closing(_LocalWorker(job, n, workers, gpus))) for n in range(workers)]
        busy: dict[_LocalWorker, Path] = {}
        while missing or busy:
            while missing and idle:
                worker, file = idle.pop(), missing.popleft()
                worker.send(shards[file])
                busy[worker] = file
            ready = set(wait([handle for worker in busy for handle in worker.handles]))
            for worker in [worker for worker in busy if ready.intersection(worker.handles)]:
                file = busy.pop(worker)
                reply = worker.receive()
                if reply is None:
                    deaths[file] += 1
                    if deaths[file] == _MAX_DEATHS:
                        raise ApoError(_DYING)
                    missing.appendleft(file)
                    print(f"a sampling worker died; {len(missing) + len(busy)} shards are left", flush=True)
                    worker.start()
                else:
                    yield file, _rows(reply)
                idle.append(worker)


def _check_gpus(needed: int) -> None:
    torch = sys.modules.get("torch")  # imported if the job's engine needs it
    available = torch.cuda.device_count() if torch is not None else 0
    if 0 < available < needed:  # a worker that sees none would silently sample on the processor
        raise ApoError(f"sampling.workers: they need {needed} GPUs, this machine has {available}")


class _LocalWorker:
    """A process that makes one shard at a time, and this process's end of the connection to it."""

    def __init__(self, job: Job[Any], number: int, workers: int, gpus: int) -> None:
        self._arguments = job, number, workers, gpus
        self.start()

    def start(self) -> None:
        """Start a process, also in the place of one that died: it gets the same cores and GPUs."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()  # so that the process's death closes the connection

    @property
    def handles(self) -> tuple[Connection, int]:
        """What to wait for: a reply, or the process's death, should its child hold the connection open."""
        return self.connection, self._process.sentinel

    def send(self, items: list[Any]) -> None:
        """Give the process a shard; that it has died is seen by `receive`."""
        with suppress(BrokenPipeError):
            self.connection.send(items)

    def receive(self) -> Reply | None:
        """Take the reply, once one of `handles` is ready; None where the process was killed.

        Raises:
            RuntimeError: the process ended with a traceback, which another one would end with too.
        """
        with suppress(EOFError, OSError):  # it died between replies, or in the middle of one
            if self.connection.poll():
                reply: Reply = self.connection.recv()
                return reply
        self.close()
        if self._process.exitcode and self._process.exitcode > 0:
            raise RuntimeError("a sampling worker failed; its traceback is above")
        return None

    def close(self) -> None:
        """Let the process finish its shard, close its engine and end."""
        self.connection.close()
        self._process.join()


def _serve(connection: Connection, job: Job[Any], number: int, workers: int, gpus: int) -> None:
    """Make the shards that are sent to this process until the other end is closed."""
    set_parent_death_signal()
    _take_share(number, workers, gpus)
    with closing(_ShardMaker(job)) as maker:
        while True:
            try:
                items = connection.recv()
            except (EOFError, ConnectionResetError):
                return
            reply = maker.reply(items)  # outside of both: an error of the job's own is no closed connection
            try:
                connection.send(reply)
            except (BrokenPipeError, ConnectionResetError):
                return


def _take_share(number: int, workers: int, gpus: int) -> None:
    """Keep a worker process to its part of the cores and GPUs."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        if torch.version.cuda:  # to ask for the GPUs would settle which are seen
            show_gpus(",".join(_own_gpus(number, gpus)))


def _own_gpus(number: int, gpus: int) -> list[str]:
    """The worker's part of the GPUs that this run may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range((number + 1) * gpus)] if visible is None else visible.split(",")
    return names[number * gpus : (number + 1) * gpus]


class _ShardMaker(Generic[Item]):
    """A job in its worker; its engine is opened with the first shard: what it refuses is a reply, too."""

    def __init__(self, job: Job[Item]) -> None:
        self._job = job
        self._engine = ExitStack()
        self._make_shard: MakeShard[Item] | None = None

    def reply(self, items: list[Item]) -> Reply:
        try:
            if self._make_shard is None:
                self._make_shard = self._engine.enter_context(self._job.open())
            return self._make_shard(items)
        except ApoError as error:
            return str(error)

    def close(self) -> None:
        self._engine.close()


def _rows(reply: Reply) -> pd.DataFrame:
    if isinstance(reply, str):
        raise ApoError(reply)
    return reply


def _run_on_ray(job: Job[Item], shards: Shards[Item], workers: int, gpus: int) -> Finished:
    disable_telemetry()
    import ray
    from ray.exceptions import RayActorError
    from ray.util import ActorPool

    # Without an address Ray would join whatever cluster was last started on this machine.
    with chdir(WITHOUT_MODULES):  # workers import first from the directory that Ray is started in
        ray.init(address=os.environ.get("RAY_ADDRESS", "local"), logging_level="warning")
    try:
        share = _share([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, gpus)
        # Ray starts a lost actor anew, on another node if need be, and gives it what it had not finished.
        actor = ray.remote(max_restarts=-1, max_task_retries=_MAX_DEATHS, **share)(_Actor)
        pool = ActorPool([actor.remote(job) for _ in range(workers)])
        replies = pool.map_unordered(
            lambda worker, shard: worker.make_shard.remote(*shard), list(shards.items())
        )
        for file, reply in replies:
            yield file, _rows(reply)
    except RayActorError:
        raise ApoError(_DYING) from None
    finally:
        ray.shutdown()


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
    def __init__(self, job: Job[Any]) -> None:
        self._maker = _ShardMaker(job)

    def make_shard(self, file: Path, items: list[Any]) -> tuple[Path, Reply]:
        return file, self._maker.reply(items)
