"""Push outputs to DVC's remote and pull them back: a run on another machine finds them made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from apo_core.errors import StageFailed, StageRefused
from tasks.dvc.repo import opened_repo
from tasks.dvc.run import run_dvc
from tasks.integrity.check import check_outputs, remove_damaged
from tasks.workspace import STAGES, Workspace

# Words of DVC's errors that no second try mends.
_REFUSED_WORDS = (
    "Checkout failed",
    "Missing cache files",
    "NoSuchBucket",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "Forbidden",
    "credentials",
)
# DVC prints it for every output that no lock names: for all of them in a workspace that has seen no run.
_NEVER_MADE = "WARNING: No file hash info found"


def has_remote(workspace: Workspace) -> bool:
    """Whether the workspace has a default remote (`dvc remote add --default`)."""
    with opened_repo(workspace.root) as repo:
        return bool(repo.config["core"].get("remote"))


def push(workspace: Workspace, log: Callable[[str], None]) -> None:
    """Send all outputs, and the record of earlier runs, to the remote.

    Raises:
        StageRefused: the remote refuses.
        StageFailed: the remote does not answer now.
    """
    _transfer(workspace, "push", [], log)


def pull(
    workspace: Workspace, log: Callable[[str], None], *, missing: Literal["refused", "made again"]
) -> None:
    """Fetch the files that `dvc.lock` and `*.dvc` files name, and the record of earlier runs.

    Args:
        workspace: with a remote.
        log: is given every line of DVC's output.
        missing: whether files that the remote does not have, or has damaged, are refused, or left for a run
            to make again.

    Raises:
        StageRefused: the remote refuses, lacks a file, or has a damaged one.
        StageFailed: the remote does not answer now.
    """
    options = ["--allow-missing"] if missing == "made again" else []
    _transfer(workspace, "pull", options, lambda line: None if line.startswith(_NEVER_MADE) else log(line))
    if missing == "refused":
        check_outputs(workspace, STAGES)  # DVC takes what a remote sends for what it asked for
    else:
        for problem in remove_damaged(workspace):
            log(f"{problem}; it is made again")


def _transfer(workspace: Workspace, verb: str, options: list[str], log: Callable[[str], None]) -> None:
    status, lines = run_dvc(workspace.root, [verb, "--run-cache", *options], log)
    if status == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    problem = f"dvc {verb}: {errors[-1] if errors else ' '.join(lines[-3:])}"
    if any(word in problem for word in _REFUSED_WORDS):
        raise StageRefused(problem)
    raise StageFailed(problem)
