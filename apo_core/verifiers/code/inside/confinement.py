"""Processes in the sandbox: their files, their limits, and their end."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SIGKILL, _SIGXCPU = 9, 24
_FIRST_FREE = 200  # no process has as many files
_STDERR = 2
_REPORTED = 1_000  # last bytes of a program's standard error


class Limits:
    """Limits of a process that runs a program or tests."""

    def __init__(
        self, seconds: float, memory_bytes: int, output_bytes: int, threads: int, user: int | None
    ) -> None:
        """Take the limits; `user` is whom a process becomes, where the sandbox has several users."""
        self.seconds, self.memory_bytes, self.output_bytes = seconds, memory_bytes, output_bytes
        self.threads, self.user = threads, user


class Confinement:
    """Limits and filter of system calls, which a process takes on for good."""

    def __init__(self, limits: Limits, system_calls: bytes) -> None:
        """Take the limits and the filter, as the kernel reads it."""
        self.limits = limits
        self._filter = ctypes.create_string_buffer(system_calls, len(system_calls))
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def enter(self) -> None:
        """Confine this process."""
        limits = self.limits
        if limits.user is not None:
            os.setgroups([])
            os.setresgid(limits.user, limits.user, limits.user)
            os.setresuid(limits.user, limits.user, limits.user)
        for kind, limit in (
            (resource.RLIMIT_AS, limits.memory_bytes),
            (resource.RLIMIT_CPU, int(limits.seconds) + 1),
            (resource.RLIMIT_FSIZE, limits.output_bytes),
            (resource.RLIMIT_NPROC, limits.threads),
            (resource.RLIMIT_NOFILE, 64),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
        ):
            resource.setrlimit(kind, (limit, limit))
        pr_set_dumpable = 4
        self._prctl(
            pr_set_dumpable, 0, 0, 0, 0
        )  # no core dump, which the machine would take care of, outside
        self._deny_system_calls()

    def _deny_system_calls(self) -> None:
        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

        program = Program(len(self._filter) // 8, ctypes.addressof(self._filter))
        pr_set_no_new_privs, pr_set_seccomp, seccomp_mode_filter = 38, 22, 2
        if self._prctl(pr_set_no_new_privs, 1, 0, 0, 0) or self._prctl(
            pr_set_seccomp, seccomp_mode_filter, ctypes.byref(program), 0, 0
        ):
            raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def start(confinement: Confinement, files: list[int], work: Callable[[], None]) -> int:
    """Fork a confined process that has the given files, numbered from 0, and no other; return its id."""
    process = os.fork()
    if not process:
        _become(confinement, files, work)
    return process


def _become(confinement: Confinement, files: list[int], work: Callable[[], None]) -> NoReturn:
    above = [fcntl.fcntl(file, fcntl.F_DUPFD, _FIRST_FREE) for file in files]
    for number, file in enumerate(above):
        os.dup2(file, number)
    os.closerange(len(files), _FIRST_FREE + 1_000)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        errors = "backslashreplace" if number == 2 else "surrogateescape"
        stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    confinement.enter()
    _end(work)


def _end(work: Callable[[], None]) -> NoReturn:
    """Work, and end as Python ends: threads, exit functions, what is not yet written.

    What this leaves out, freeing every object, takes ten times as long as starting the process.
    """
    code = 1
    try:
        try:
            work()
            code = 0
        except SystemExit as end:
            code = _exit_code(end)
        except BaseException:  # noqa: BLE001 - it is shown, as Python does
            sys.excepthook(*sys.exc_info())
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - closed, or more than it may write
            code = code or 120
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def wait(process: int, deadline: float, cpu_seconds: float) -> str:
    """Wait for the end of a process, kill it at the deadline, and say how it ended: "" if well.

    Ends the sandbox if who started it is gone. Bubblewrap sees to that too, but not while it starts.
    """
    pidfd = os.pidfd_open(process)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(_STDERR, 0)  # a pipe, which is in error once nobody can read it
    ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    if _STDERR in ready:
        os._exit(1)
    in_time = pidfd in ready
    os.close(pidfd)
    if not in_time:
        os.kill(process, _SIGKILL)
    _, status, usage = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    too_long = code == -_SIGXCPU or (code == -_SIGKILL and usage.ru_utime + usage.ru_stime >= cpu_seconds)
    if not in_time or too_long:
        return "time"
    return f"signal {-code}" if code < 0 else f"exit {code}" if code else ""


def last_line(stderr: int) -> str:
    """Read the last line that a process wrote to standard error: of a traceback, the exception."""
    size = os.fstat(stderr).st_size
    text = os.pread(stderr, _REPORTED, max(0, size - _REPORTED)).decode("utf-8", "replace")
    return (text.strip().splitlines() or [""])[-1]
