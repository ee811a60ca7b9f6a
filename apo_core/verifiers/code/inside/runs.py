"""A program on inputs: each in a fresh process, whose output or result goes out to be compared there."""

from __future__ import annotations

import os
import sys

from .confinement import Confinement, last_line, start, wait
from .files import memory_file, report, write_all

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST_REPORTED = 4  # times the output limit of one process, for all of them together
_RESULT = 3  # file that a call's result is written to


def report_runs(job: Any, confinement: Confinement, deadline: float) -> None:
    """Run the program once per input, and report each: how it ended, and what it printed or returned."""
    left = _MOST_REPORTED * confinement.limits.output_bytes
    for run in job["runs"]:
        _, stdout, stderr, result = files = [
            memory_file(run["stdin"].encode()),
            *(memory_file() for _ in "123"),
        ]
        process = start(confinement, files, _work(job, run["call"]))
        ended = wait(process, deadline, confinement.limits.seconds)
        output = stdout if run["call"] is None else result
        size = os.fstat(output).st_size
        if size >= confinement.limits.output_bytes or size > left:
            ended, size = "output", 0
        left -= size
        report(ended, last_line(stderr), output, size)
        for file in files:
            os.close(file)


def _work(job: Any, call: Any) -> Callable[[], None]:
    if call is None:
        return lambda: execute(job["program"], module("__main__", ""))
    return lambda: _call(job, call)


def _call(job: Any, call: Any) -> None:
    from .values import decode, dump, encode  # with JSON, which programs that print do not need

    names = module("solution", job["prelude"])
    execute(job["program"], names)
    function = names.get(call["name"])
    if function is None and "Solution" in names:  # LeetCode's form
        function = getattr(names["Solution"](), call["name"], None)
    if function is None:
        raise NameError(f"there is no function {call['name']}")
    value = function(*[decode(argument) for argument in call["arguments"]])
    write_all(_RESULT, dump(encode(value)))


def module(name: str, prelude: str) -> dict[str, Any]:
    """Make the module that a program runs in, where `pickle` and dataclasses look for it."""
    made = type(sys)(name)
    sys.modules[name] = made
    exec(compile(prelude, "prelude", "exec"), made.__dict__)
    return made.__dict__


def execute(program: str, names: dict[str, Any]) -> None:
    """Run a program in a module."""
    exec(compile(program, "program.py", "exec"), names)
