"""A fault that is done to a finished workspace, and whether a command then does what is right."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from builders import BIN, clean_env

from apo_core.system.files import sha256_of

OWN_MOUNTS = ("unshare", "--mount")
_SHIMS = Path(__file__).parent / "shims"
_SHOWN = 400  # characters of the output, in a problem


def _nothing(workspace: Path) -> None:
    pass


@contextmanager
def _no_server() -> Iterator[dict[str, str]]:
    yield {}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and what is right."""

    name: str
    do: Callable[[Path], None] = _nothing
    """Done to a copy of a finished workspace."""
    server: Callable[[], AbstractContextManager[dict[str, str]]] = _no_server
    """What runs meanwhile; the variables of its clients."""
    env: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """What the command is run by."""
    command: str = "apo run --force report"
    status: int = 0
    says: str = ""
    """A pattern that the output has, with every space or line break of it as one space."""
    same: tuple[str, ...] = ()
    """Files and directories whose bytes are afterwards those of the finished workspace."""
    seconds: float = 600
    """The longest that the command may take."""


def problem_of(fault: Fault, finished: Path, workspace: Path) -> str:
    """Do a fault to a copy of a finished workspace; what is wrong then, empty if nothing is.

    The output of its command is kept beside the copy, unless it is as it should be.
    """
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(finished, workspace, symlinks=True)
    fault.do(workspace)
    log = workspace.with_name(f"{workspace.name}.log")
    with fault.server() as variables:
        status = _run(fault, workspace, variables, log)
    problem = _wrong(fault, status, log.read_text(errors="replace"))
    changed = [name for name in fault.same if not _is_same(workspace / name, finished / name)]
    if changed and not problem:
        problem = f"other bytes: {', '.join(changed)}"
    shutil.rmtree(workspace)
    if not problem:
        log.unlink()
    return problem


def _wrong(fault: Fault, status: int | None, output: str) -> str:
    """What is wrong with the end and the output of a fault's command."""
    end = output.strip()[-_SHOWN:]
    if status is None:
        return f"not at its end after {fault.seconds:.0f} s: {end}"
    if status != fault.status:
        return f"status {status}: {end}"
    if "Traceback" in output:
        return f"a traceback: {end}"
    said = re.search(fault.says, re.sub(r"[\s│]+", " ", output))
    return "" if said else f"does not say {fault.says!r}: {end}"


def _run(fault: Fault, workspace: Path, variables: dict[str, str], log: Path) -> int | None:
    """The exit status of the fault's command; None where it took too long. Ends all that it has started."""
    environment = clean_env() | {"PATH": f"{BIN}:{os.environ['PATH']}"} | variables | fault.env
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*fault.before, "/bin/bash", "-c", fault.command],
            cwd=workspace,
            env={name: value for name, value in environment.items() if name not in fault.unset},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=fault.seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group of a command: what it has left in the background, too."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _is_same(ours: Path, theirs: Path) -> bool:
    return ours.exists() and sha256_of(ours) == sha256_of(theirs)


def shim(name: str, scratch: Path) -> str:
    """A library that takes something away, compiled."""
    library = scratch / f"{name}.so"
    if not library.exists():
        command = ["cc", "-shared", "-fPIC", "-o", library, _SHIMS / f"{name}.c", "-ldl"]
        subprocess.run(command, check=True)
    return str(library)
