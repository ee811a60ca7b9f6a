"""Scoring in a pool of processes, each row under a hard limit of time and memory."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from apo_core.errors import ApoError
from apo_core.verifiers import worker
from apo_core.verifiers.base import GIVEN_UP, Attempt, Verdict, Verifier

_ROWS = 10_000  # rows per process, which is then replaced, so that memory leaks cannot add up
_GRACE = 1.0  # seconds beyond the time limit, after which a process that has not ended itself is killed
_LOST = 3  # consecutive pools that broke without scoring a row, after which to give up
_NO_SEMAPHORES = (errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.ENOSYS)


class PooledScorer:
    """A pool of processes; a row that hangs or kills its process costs that row and no other.

    pebble hands each row to a process that has loaded the verifier. A kernel timer ends the process when the
    row's time is up; should the verifier have changed the timer, pebble kills the process. The pool starts
    with the first row and stops with `close`, or with the process that it belongs to.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        workers: int,
        time_limit_seconds: float,
        memory_limit_mib: int,
        max_errors: int,
    ) -> None:
        self.verifier = verifier
        self.workers = workers
        self.time_limit = time_limit_seconds
        self.memory_limit_mib = memory_limit_mib
        self.max_errors = max_errors
        self._pool: ProcessPool | None = None
        self._stop: Finalize | None = None

    def check(self) -> None:
        """See `Scorer`."""
        with self._starting():
            self._started()

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """See `Scorer`."""
        outcomes = self._all(worker.score, attempts)
        return [Verdict(None, None, outcome) if isinstance(outcome, str) else outcome for outcome in outcomes]

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """See `Scorer`."""
        return self._all(worker.answer_problem, attempts)

    def close(self) -> None:
        """Stop the processes."""
        if self._stop is not None:
            self._stop()
        self._pool = self._stop = None

    def _all(self, function: Callable[[Attempt], Any], attempts: list[Attempt]) -> list[Any]:
        """Call the function on each attempt: results or error texts, in order. Broken pools are replaced."""
        outcomes: list[Any] = []
        lost = failed = 0
        while len(outcomes) < len(attempts):
            before = len(outcomes)
            try:
                with self._starting():
                    pool = self._started()
                    futures = [
                        pool.schedule(function, args=(attempt,), timeout=self.time_limit + _GRACE)
                        for attempt in attempts[before:]
                    ]
                for future in futures:
                    outcomes.append(self._outcome(pool, future))
                    failed += _is_error(outcomes[-1])
                    if failed > self.max_errors:  # every error may cost the whole time limit
                        self.close()
                        return outcomes + [f"{GIVEN_UP} after {failed} others"] * (
                            len(attempts) - len(outcomes)
                        )
            except RuntimeError:  # such as BrokenProcessPool: a process died between two rows
                self.close()
                lost = 1 if len(outcomes) > before else lost + 1
                if lost == _LOST:
                    raise ApoError(f"verifier.name: {self.verifier.name}: its processes keep dying") from None
        return outcomes

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Say in one line that a machine lacks what a pool needs."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_SEMAPHORES:
                raise
            raise ApoError(
                f"verifier.name: {self.verifier.name}: its processes cannot start: {error.strerror}; "
                "they need semaphores in /dev/shm, which must be writable"
            ) from None

    def _outcome(self, pool: ProcessPool, future: ProcessFuture[Any]) -> Any:
        # Rows are scored in order: this one is being scored, or is next as soon as a process has started.
        patience = time.monotonic() + 2 * (worker.LOAD_SECONDS + self.time_limit)
        while not future.done() and not wait([future], timeout=1.0).done:
            # A broken pebble pool forgets the rows it has not handed out, and it does not notice every break.
            if not pool.active or time.monotonic() > patience:
                raise BrokenProcessPool
        try:
            return future.result()
        except TimeoutError:
            return self._late()
        except ProcessExpired as death:
            if death.exitcode == -signal.SIGALRM:
                return self._late()
            return f"error: its process died ({_cause(death.exitcode)})"

    def _late(self) -> str:
        return f"error: took longer than {self.time_limit:g} s"

    def _started(self) -> ProcessPool:
        """Return the pool, started if need be, whose processes have loaded the verifier.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        if self._pool is not None:
            return self._pool
        pool = ProcessPool(
            self.workers,
            max_tasks=_ROWS,
            initializer=worker.begin,
            initargs=(self.verifier, self.time_limit, self.memory_limit_mib),
            context=get_context("spawn"),
        )
        self._pool = pool
        # A multiprocessing child ends without `atexit`, and would wait for the pool's processes for ever.
        self._stop = Finalize(self, _end, args=(pool,), exitpriority=10)
        try:
            problem = self._outcome(pool, pool.schedule(worker.load_problem))
        except BrokenProcessPool:
            limit = f"or it took longer than {worker.LOAD_SECONDS} s"
            problem = f"verifier.name: {self.verifier.name}: its process died while loading it, {limit}"
        if problem is not None:
            self.close()
            raise ApoError(problem)
        return pool


def _is_error(outcome: Any) -> bool:
    if isinstance(outcome, Verdict):  # its reason is the verifier's text, and may begin with "error: "
        return outcome.reward is None
    return isinstance(outcome, str) and outcome.startswith("error: ")


def _end(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _cause(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"
