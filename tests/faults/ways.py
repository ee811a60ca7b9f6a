"""The ways in which a run is disturbed: which of its processes gets which signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

STOPPED_SECONDS = 5


class Way(NamedTuple):
    """One way."""

    weight: int
    """How often it is drawn."""
    ends_run: bool
    """Whether the run as a whole ends by it."""
    disturb: Callable[[int], bool]
    """Given the number of the run's process; says whether there was anything to disturb."""


def _group(number: signal.Signals) -> Callable[[int], bool]:
    """The process group of the command, as a terminal does."""

    def send(pid: int) -> bool:
        os.killpg(pid, number)
        return True

    return send


def _tree(number: signal.Signals) -> Callable[[int], bool]:
    """The command and all that it started, as the end of a container does."""

    def send(pid: int) -> bool:
        for process in _all(pid):
            _signal(process, number)
        return True

    return send


def _command(number: signal.Signals) -> Callable[[int], bool]:
    """The command alone."""

    def send(pid: int) -> bool:
        os.kill(pid, number)
        return True

    return send


def _module(name: str, number: signal.Signals) -> Callable[[int], bool]:
    """The process of a Python module below the command: DVC, a stage, the Prefect server."""

    def send(pid: int) -> bool:
        for process in _all(pid)[1:]:
            if _runs(process, name):
                return _signal(process, number)
        return False

    return send


def _stop_and_go_on(pid: int) -> bool:
    """All processes stand still for some seconds, as on a machine that is suspended."""
    processes = _all(pid)
    for process in processes:
        _signal(process, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    for process in processes:
        _signal(process, signal.SIGCONT)
    return True


def _all(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        line = process.cmdline()
    except psutil.Error:
        return False
    return "-m" in line and line[line.index("-m") + 1] == module


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


WAYS = {
    "group-KILL": Way(4, True, _group(signal.SIGKILL)),
    "tree-KILL": Way(2, True, _tree(signal.SIGKILL)),
    "command-KILL": Way(4, True, _command(signal.SIGKILL)),
    "command-TERM": Way(3, True, _command(signal.SIGTERM)),
    "command-INT": Way(1, True, _command(signal.SIGINT)),
    "group-INT": Way(3, True, _group(signal.SIGINT)),
    "group-TERM": Way(1, True, _group(signal.SIGTERM)),
    "group-HUP": Way(2, True, _group(signal.SIGHUP)),
    "stage-KILL": Way(4, False, _module("tasks", signal.SIGKILL)),
    "stage-TERM": Way(1, False, _module("tasks", signal.SIGTERM)),
    "dvc-KILL": Way(1, False, _module("dvc", signal.SIGKILL)),
    "server-KILL": Way(1, False, _module("prefect", signal.SIGKILL)),
    "stop-and-go-on": Way(1, False, _stop_and_go_on),
}
