"""Processes that outlive the command that starts them, told apart from others with their numbers."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_TAG = "APO_SERVICE"
# A server needs nothing else of its user's environment, least of all secrets, proxies and other servers.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
_KILLED_SECONDS = 10


@dataclass(frozen=True)
class Started:
    """A process as it is recorded: the number alone may be another's by now."""

    pid: int
    start_time: str


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a server is started. Secrets go into `env`: arguments can be read by everybody."""

    command: list[str]
    directory: Path
    env: dict[str, str] = field(default_factory=dict)
    account: pwd.struct_passwd | None = None  # None: the user's own


def launch(spec: Launch, log: Path, process_tag: str) -> Started:
    """Start a server in a session of its own; its output is appended to a file that only its user reads."""
    account = spec.account
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as stream:
        process = subprocess.Popen(
            spec.command,
            cwd=spec.directory,
            env=inherited() | spec.env | {_TAG: process_tag},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=[] if account else None,
        )
    _wait_for_tag(process.pid, process_tag)
    process.returncode = 0  # nobody waits for it, and Python is not to complain about that
    return Started(process.pid, start_time(process.pid) or "")


def _wait_for_tag(pid: int, process_tag: str) -> None:
    """Return when the tag can be read: for a moment, a new program's environment is empty."""
    deadline = time.monotonic() + 1.0
    while start_time(pid) is not None and time.monotonic() < deadline:
        if any(tagged.pid == pid for tagged in processes_tagged(process_tag)):
            return
        time.sleep(0.01)


def inherited() -> dict[str, str]:
    """The variables of this process that a server inherits."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def start_time(pid: int) -> str | None:
    """The boot and the tick in which a process began, which setting the clock does not change.

    None where there is no such process, or nothing but its exit status.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return None if state in "ZX" else f"{boot}:{fields[18]}"


def process_of(started: Started | None, process_tag: str) -> psutil.Process | None:
    """The process that was recorded, if it still runs and was started with this tag."""
    if started is None or started.start_time != start_time(started.pid):
        return None
    return next((process for process in processes_tagged(process_tag) if process.pid == started.pid), None)


def processes_tagged(process_tag: str) -> list[psutil.Process]:
    """Every process that was started with a tag, or by one that was."""
    tagged = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_TAG) == process_tag and process.status() != psutil.STATUS_ZOMBIE:
                tagged.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended, or is another user's
            continue
    return tagged


def end(processes: list[tuple[psutil.Process, int]], seconds: float) -> None:
    """Ask processes to end, each by its signal, and kill those that do not in time."""
    for process, number in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    kill(_left([process for process, _ in processes], seconds))


def kill(processes: list[psutil.Process]) -> None:
    """Kill processes and return when they are gone; psutil refuses a number that is another's by now."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _left(processes, _KILLED_SECONDS)


def _left(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run at the end of the time; psutil itself would wait for zombies to be reaped."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if start_time(process.pid) and process.is_running()]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return left
