"""A program and assertions about it, each in a process of their own.

The process of the program knows no test: it is forked before they are read. It is asked for values, one call
at a time; what is right is known and decided in the other process.
"""

from __future__ import annotations

import builtins
import os
import sys

from .confinement import Confinement, start, wait
from .files import memory_file, report
from .peer import Peer
from .runs import execute, module
from .values import send

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SIGKILL = 9
_REQUESTS, _REPLIES, _RESULTS = 3, 4, 5  # files of the two processes


def report_assertions(
    job: Any, read_tests: Callable[[], Any], confinement: Confinement, deadline: float
) -> None:
    """Run the assertions, and report how they ended and the result of each that was reached."""
    requests_end, requests = os.pipe()
    replies_end, replies = os.pipe()
    nothing, unread, results = memory_file(), memory_file(), memory_file()
    program = start(confinement, [nothing, unread, unread, requests_end, replies], lambda: _serve(job))
    os.close(requests_end)
    os.close(replies)
    tests = read_tests()  # only now: the process of the program has nothing of them
    checking = start(
        confinement, [nothing, unread, unread, replies_end, requests, results], lambda: _check(tests)
    )
    os.close(replies_end)
    os.close(requests)
    ended = wait(checking, deadline, confinement.limits.seconds)
    os.kill(program, _SIGKILL)
    os.waitpid(program, 0)
    report(ended, "", results, os.fstat(results).st_size)


def _serve(job: Any) -> None:
    names: dict[str, Any] = {}
    failure: BaseException | None = None
    try:
        names = module("solution", job["prelude"])
        execute(job["program"], names)
        exec(compile(job["setup"], "setup", "exec"), names)
    except BaseException as error:  # noqa: BLE001 - the tests get it as their answer
        failure = error
    Peer(_REQUESTS, _REPLIES, calls_only=False).serve(names, failure)


def _check(tests: Any) -> None:
    peer = Peer(_REQUESTS, _REPLIES, calls_only=True)
    failure: BaseException | None = None
    names: dict[str, Any] = {}
    try:
        names = _names(peer, tests)
    except BaseException as error:  # noqa: BLE001 - becomes each test's result
        failure = error
    for test in tests["tests"]:
        problem = None
        try:
            if failure is not None:
                raise failure
            exec(compile(test, "test", "exec"), names)
        except BaseException as error:  # noqa: BLE001 - a test may raise anything
            problem = (
                "the program ended" if isinstance(error, EOFError | BrokenPipeError) else _described(error)
            )
        send(_RESULTS, {"problem": problem})


def _names(peer: Peer, tests: Any) -> dict[str, Any]:
    """Make the names that tests know: the program's, except for those of Python's own library."""
    names: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    for name in peer.request("names"):
        if name.startswith("__") or (hasattr(builtins, name) and name not in tests["functions"]):
            continue
        # Its own, not the program's, which may have replaced what is in it.
        library = name in sys.stdlib_module_names
        names[name] = __import__(name) if library else peer.request("name", name=name)
    if tests["candidate"] is not None:
        names["candidate"] = peer.request("name", name=tests["candidate"])
    exec(compile(tests["prelude"], "setup", "exec"), names)
    return names


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
