"""A run's Prefect server: started again where it is the run's own, reported where it is another's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

from apo_core.errors import ApoError
from apo_core.system.loopback import listening
from tasks.at_work import is_at_work
from tasks.tracking.store import AWAY, is_of_tls

_EVERY_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_AWAY_SECONDS = 30.0
_TEMPORARY_FAILURE = 75  # exit status: the same command may help later


def answers(api: str) -> bool:
    """Whether a server answers at all, if only by refusing.

    Raises:
        ApoError: the address is none.
    """
    return _health(api) is not None


def check_api(api: str) -> None:
    """Refuse an address at which no Prefect API answers.

    Raises:
        ApoError: nothing answers there, or a page does.
    """
    health = _health(api)
    if health is None:
        raise ApoError(f"PREFECT_API_URL: {api} does not answer; start that server, or unset the variable")
    if health.lstrip().startswith(b"<"):
        raise ApoError(f"PREFECT_API_URL: {api} is a page, no API; expected http://host:port/api")


def _health(api: str) -> bytes | None:
    """How a server's answer begins, empty where it refuses; None where nothing answers."""
    try:
        with urllib.request.urlopen(f"{api.rstrip('/')}/health", timeout=_ANSWER_SECONDS) as answer:
            return bytes(answer.read(100))
    except urllib.error.HTTPError as error:
        return None if error.code in AWAY else b""
    except (OSError, HTTPException) as error:
        return b"" if is_of_tls(error) else None
    except ValueError:
        raise ApoError(f"{api!r} is no address of a server; expected http://host:port/api") from None


@contextmanager
def restarted(
    api: str, start: Callable[[], subprocess.Popen[bytes]], stop: Callable[[subprocess.Popen[bytes]], None]
) -> Iterator[None]:
    """Have a server on this machine at that address for the length of the block, whatever ends it.

    Prefect asks again for a minute where its server does not answer, and goes on when it is back.

    Args:
        api: its address.
        start: starts one there.
        stop: ends what was started.
    """
    started: list[subprocess.Popen[bytes]] = []
    port = urlsplit(api).port or 0

    def look() -> None:
        # One that is slow is there: the kernel takes its connections.
        if listening(port) or (started and started[-1].poll() is None):
            return
        print(f"Prefect's server at {api} is gone: this run starts it again", file=sys.stderr, flush=True)
        started.append(start())

    try:
        with _watched(look):
            yield
    finally:
        for process in started:
            stop(process)


@contextmanager
def reported(api: str) -> Iterator[None]:
    """End this process by one line where a server of others has been away for half a minute.

    Never while a task is at work: what it does is worth more than what Prefect knows of it. Prefect
    itself would try for minutes, run the finished stage again, and end in a traceback. This end is like a
    kill: the next run goes on from there.
    """
    away_since: list[float] = []

    def look() -> None:
        if answers(api) or is_at_work():
            away_since.clear()
            return
        away_since.append(time.monotonic())
        if away_since[-1] - away_since[0] > _AWAY_SECONDS:
            line = (
                f"error: PREFECT_API_URL: {api} has not answered for {_AWAY_SECONDS:.0f} s; nothing is lost: "
            )
            print(f"{line}the same command goes on from here", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(_TEMPORARY_FAILURE)

    with _watched(look):
        yield


@contextmanager
def _watched(look: Callable[[], None]) -> Iterator[None]:
    """Call a function about every second, in a thread, until the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_SECONDS):
            look()

    thread = threading.Thread(target=watch, name="prefect-server", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
