"""Make shards in several processes of this machine, each with its own engine, cores and GPUs."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter, deque
from contextlib import ExitStack, closing, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from apo_core.errors import ApoError
from apo_core.system.environment import show_gpus
from apo_core.system.processes import cores, set_parent_death_signal
from tasks.responses.jobs import Item, Job, Keep, Sample, Score, ScoringThread, Shards

# Rows, or the text of an `ApoError`, whose class does not survive pickling.
Reply = pd.DataFrame | str
MAX_DEATHS = 3  # workers that may die of one shard
DYING = f"{MAX_DEATHS} sampling workers died without finishing a shard"
_LOOK_SECONDS = 1.0  # after which a worker that waits for work looks whether its scoring failed by a bug


class _CanSample(NamedTuple):
    """A worker's message: its shard is sampled, and it can sample the next one while it scores."""


class _Share(NamedTuple):
    """Which part of this machine a worker has."""

    number: int
    workers: int
    gpus: int


def make_on_processes(job: Job[Item], shards: Shards[Item], keep: Keep, *, workers: int, gpus: int) -> None:
    """Make shards on at most `workers` processes with `gpus` GPUs each; a process that is killed is replaced.

    Each has its part of the cores as if there were shards for all: sums of floats depend on the number of
    threads, and what a killed run has left over is to be made as if it had not been killed.

    Raises:
        ApoError: a job refused its input, there are not as many GPUs, or processes keep dying.
        RuntimeError: a process ended with a traceback.
    """
    processes = min(workers, len(shards))
    _check_gpus(processes * gpus)
    missing, deaths = deque(shards), Counter[Path]()
    with ExitStack() as stack:
        team = [
            stack.enter_context(closing(_LocalWorker(job, _Share(number, workers, gpus))))
            for number in range(processes)
        ]
        while missing or any(worker.held for worker in team):
            for worker in team:
                if missing and worker.can_take(missing[0], deaths):
                    file = missing.popleft()
                    worker.send(file, shards[file])
            for worker in _with_messages(team):
                message = worker.receive()
                if isinstance(message, pd.DataFrame | str):
                    keep(worker.held.popleft(), rows_of(message))
                elif message is None:
                    missing.extendleft(reversed(worker.held))
                    deaths.update(worker.held)
                    if max(deaths.values()) == MAX_DEATHS:
                        raise ApoError(DYING)
                    worker.start()
                    left = len(missing) + sum(len(worker.held) for worker in team)
                    print(f"a sampling worker died; {left} shards are left", flush=True)


def rows_of(reply: Reply) -> pd.DataFrame:
    """The rows of a reply; an `ApoError` where it is the text of one."""
    if isinstance(reply, str):
        raise ApoError(reply)
    return reply


def reply_of(make: Score) -> Reply:
    """What a worker replies with that has made a shard, or was refused."""
    try:
        return make()
    except ApoError as error:
        return str(error)


def count_gpus() -> int:
    """Count the GPUs that this process may use; to ask for them settles which are seen."""
    torch = sys.modules.get("torch")  # imported if the job's engine needs it
    return int(torch.cuda.device_count()) if torch is not None else 0


def _check_gpus(needed: int) -> None:
    # A worker that sees none would silently sample on the processor.
    if 0 < (available := count_gpus()) < needed:
        raise ApoError(f"sampling.workers: they need {needed} GPUs, this machine has {available}")


class _LocalWorker:
    """A process that samples one shard and scores the one before, and this end of the connection to it."""

    def __init__(self, job: Job[Any], share: _Share) -> None:
        self._arguments = job, share
        self.start()

    def start(self) -> None:
        """Start a process, also in the place of one that died: it gets the same cores and GPUs."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()  # so that the process's death closes the connection
        self.held: deque[Path] = deque()  # shards whose rows have not arrived, in the order of their arrival
        self._can_sample = True

    @property
    def handles(self) -> tuple[Connection, int]:
        """What to wait for: a message, or the process's death, should its child hold the connection open."""
        return self.connection, self._process.sentinel

    def can_take(self, file: Path, deaths: Counter[Path]) -> bool:
        """Whether the process can begin with a shard; one that another died of it has to itself."""
        suspect = any(deaths[held] for held in (file, *self.held))
        return self._can_sample and not (self.held and suspect)

    def send(self, file: Path, items: list[Any]) -> None:
        """Give the process a shard; that it has died is seen by `receive`."""
        self.held.append(file)
        self._can_sample = False
        with suppress(BrokenPipeError):
            self.connection.send(items)

    def receive(self) -> Reply | _CanSample | None:
        """Take the next message, once one of `handles` is ready; None where the process was killed.

        Raises:
            RuntimeError: the process ended with a traceback, which another one would end with too.
        """
        with suppress(EOFError, OSError):  # it died between replies, or in the middle of one
            if self.connection.poll():
                message: Reply | _CanSample = self.connection.recv()
                self._can_sample = self._can_sample or isinstance(message, _CanSample)
                return message
        self.close()
        if self._process.exitcode and self._process.exitcode > 0:
            raise RuntimeError("a sampling worker failed; its traceback is above")
        return None

    def close(self) -> None:
        """Let the process finish its shards, close its engine and end."""
        self.connection.close()
        self._process.join()


def _with_messages(team: list[_LocalWorker]) -> list[_LocalWorker]:
    """Wait until a worker has said something or died."""
    busy = [worker for worker in team if worker.held]
    ready = set(wait([handle for worker in busy for handle in worker.handles]))
    return [worker for worker in busy if ready.intersection(worker.handles)]


def _serve(connection: Connection, job: Job[Any], share: _Share) -> None:
    """Make the shards that are sent to this process until the other end is closed."""
    set_parent_death_signal()
    own_cores = _take_share(share)
    sample: Sample[Any] | None = None
    with ExitStack() as engine, ScoringThread() as scoring:
        while (items := _next_items(connection, scoring)) is not None:
            try:
                if sample is None:  # only now: what it refuses is a reply, too
                    sample = engine.enter_context(job.open(own_cores))
                score = sample(items)
            except ApoError as error:
                score = partial(_refuse, error)
            scoring.finish()
            _send(connection, _CanSample())
            scoring.start(partial(_answer, connection, score))


def _next_items(connection: Connection, scoring: ScoringThread) -> list[Any] | None:
    while not connection.poll(_LOOK_SECONDS):
        scoring.check()
    try:
        items: list[Any] = connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    return items


def _refuse(error: ApoError) -> pd.DataFrame:
    raise error


def _answer(connection: Connection, score: Score) -> None:
    _send(connection, reply_of(score))


def _send(connection: Connection, message: Reply | _CanSample) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more: `recv` will say so
        connection.send(message)


def _take_share(share: _Share) -> int:
    """Keep this process to its part of the cores and GPUs; the number of its cores."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, torch.get_num_threads() // share.workers))
        if torch.version.cuda:  # to ask for the GPUs would settle which are seen
            show_gpus(",".join(_own_gpus(share)))
    return max(1, cores() // share.workers)


def _own_gpus(share: _Share) -> list[str]:
    """The worker's part of the GPUs that this run may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first, end = share.number * share.gpus, (share.number + 1) * share.gpus
    names = [str(index) for index in range(end)] if visible is None else visible.split(",")
    return names[first:end]
