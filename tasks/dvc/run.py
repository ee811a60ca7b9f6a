"""Run stages through DVC, by `dvc repro --single-item STAGE`, and read its output line by line."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal

from apo_core.errors import StageFailed, StageRefused
from apo_core.system.environment import DVC, SAFE_IMPORTS, STAGE_LOG, TELEMETRY, as_env
from apo_core.system.processes import end_session, python_module, start_session
from tasks.dvc.state import keep_record, pending
from tasks.integrity.check import check_outputs
from tasks.lock import note_progress
from tasks.stages.process import INPUT_ERROR, request_fresh
from tasks.workspace import Workspace

Outcome = Literal["ran", "restored", "unchanged"]
_END_SECONDS = 10
_LINE_END = re.compile(rb"[\r\n]+")
_BUSY = re.compile("is busy|Unable to acquire lock")
_MISSING = re.compile(r"No such file or directory: '([^']+)'|missing data 'source': (.+)")
# Hints that DVC prints after every stage, for people who run it by hand.
_HINT = re.compile(
    r"(Generating|Updating) lock file|To track the changes|\s+git add|To enable auto staging|\s+dvc config"
    "|Use `dvc push`"
)


def run_stage(
    workspace: Path, stage: str, log: Callable[[str], None], *, force: bool = False, fresh: bool = False
) -> Outcome:
    """Reproduce one stage if anything it depends on has changed.

    Args:
        workspace: directory with `dvc.yaml`.
        stage: its name there.
        log: is given every line of the stage's output as it comes.
        force: run the stage even if nothing has changed.
        fresh: drop the stage's shards or checkpoints first.

    Returns:
        Whether it ran, was restored from DVC's cache of earlier runs, or had not changed.

    Raises:
        StageRefused: the stage refused its input; the message is the stage's own error. Or what DVC kept or
            restored is not what the stage wrote.
        WorkspaceBusy: another DVC command is at work.
        StageFailed: the stage ended otherwise; the message is the end of its output.
    """
    changed = pending(workspace, [stage])
    if not force and not changed:
        check_outputs(Workspace(workspace), [stage])  # DVC itself looks at sizes and times alone
        log(f"Stage '{stage}' has not changed")
        return "unchanged"
    if fresh:
        request_fresh(Workspace(workspace), stage)
    status, lines = run_dvc(
        workspace, ["repro", "--single-item", *(["--force"] if force else []), stage], log, APO_RUN="1"
    )
    if status == 0:
        keep_record(Workspace(workspace))
        outcome = _outcome(lines)
        if outcome != "ran":  # what DVC restored may have been damaged in its cache
            check_outputs(Workspace(workspace), [stage])
        return outcome
    raise _failure(stage, lines)


def run_dvc(
    workspace: Path, arguments: list[str], log: Callable[[str], None], **variables: str
) -> tuple[int, list[str]]:
    """Run a DVC command in a workspace, with more variables; returns its exit status and output lines."""
    return _run(workspace, [*dvc_command(), *arguments], log, **variables)


def run_process(workspace: Path, name: str, log: Callable[[str], None]) -> None:
    """Run `python -P -m tasks NAME` as DVC runs a stage, where `dvc.yaml` has no stage of that name.

    Args:
        workspace: directory to run it in.
        name: of the process.
        log: is given every line of its output as it comes.

    Raises:
        StageRefused: it refused its input; the message is its own error.
        StageFailed: it ended otherwise; the message is the end of its output.
    """
    # Without DVC between them the run is its parent: process 1, where it is a container's only one.
    variables = {} if os.getpid() == 1 else {"APO_RUN": "1"}
    status, lines = _run(workspace, python_module("tasks", name), log, **variables)
    errors = _errors_in(lines)
    if status == INPUT_ERROR and errors:
        raise StageRefused(f"{name}: {errors[-1]}")
    if status != 0:
        raise _crash(name, lines)


def _run(
    workspace: Path, command: list[str], log: Callable[[str], None], **variables: str
) -> tuple[int, list[str]]:
    process = start_session(command, cwd=workspace, env=dvc_environment() | variables, output=subprocess.PIPE)
    assert process.stdout is not None
    lines = []
    try:
        with process.stdout as output:
            for line in _lines(output):
                lines.append(line)
                if not _HINT.match(line):
                    log(line)
                    note_progress(Workspace(workspace), line)
        return process.wait(), lines
    finally:
        end_session(process, _END_SECONDS)


def dvc_command() -> list[str]:
    """The command of this environment's DVC, whether or not the environment is activated."""
    return python_module("dvc")


def dvc_environment() -> dict[str, str]:
    """This process's environment, with this Python first on the path: stages are run as `python ...`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return as_env(TELEMETRY, STAGE_LOG) | dict(os.environ) | as_env(SAFE_IMPORTS, DVC) | {"PATH": path}


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Yield lines as they come; a progress bar's line ends when the next begins, or when nothing follows it.

    Waits half a second at a time, so that a timeout raised in this thread is not held up by a silent stage.
    """
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=0.5):
                if pending.strip():
                    yield pending.decode(errors="replace").strip()
                    pending = b""
                continue
            chunk = os.read(stream.fileno(), 65536)
            *lines, pending = _LINE_END.split(pending + chunk)
            for line in [*lines, pending] if not chunk else lines:
                if line.strip():
                    yield line.decode(errors="replace").rstrip()
            if not chunk:
                return


def _outcome(lines: list[str]) -> Outcome:
    text = "\n".join(lines)
    if "didn't change, skipping" in text:
        return "unchanged"
    return "restored" if "is cached - skipping run" in text else "ran"


def _errors_in(lines: list[str]) -> list[str]:
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


def _failure(stage: str, lines: list[str]) -> StageRefused | StageFailed:
    errors = _errors_in(lines)
    text = "\n".join(lines)
    if errors and re.search(rf"exited with {INPUT_ERROR}\b", text):
        return StageRefused(f"{stage}: {errors[-1]}")
    # An error of DVC itself, such as a missing input, is not mended by another try either.
    refusals = [line for line in lines if line.startswith("ERROR: ") and not _BUSY.search(line)]
    if refusals and "exited with" not in text:
        if missing := _MISSING.search(refusals[-1]):
            file = missing[1] or missing[2]
            return StageRefused(f"{stage}: {file}: is not there; `apo run` runs the stages before this one")
        return StageRefused(f"{stage}: dvc: {refusals[-1].removeprefix('ERROR: ')}")
    return _crash(stage, lines)


def _crash(stage: str, lines: list[str]) -> StageFailed:
    return StageFailed(f"{stage} failed:\n" + "\n".join(lines[-20:]))
