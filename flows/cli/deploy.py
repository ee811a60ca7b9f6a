"""`apo deploy`: Prefect's own deploy, once all that `prefect.yaml` takes from the environment is there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import PurePosixPath

from apo_core.errors import ApoError, InputError
from apo_core.system.environment import use_local_prefect
from apo_core.system.processes import WITHOUT_MODULES, python_module
from tasks.git import path_in_repository
from tasks.workspace import Workspace

_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")  # as Prefect writes them
_WORKSPACE_VARIABLE = "APO_WORKSPACE"


def deploy(workspace: Workspace) -> None:
    """Make the deployments of a workspace; those that are there are changed.

    Raises:
        ApoError: there is no `prefect.yaml`, a variable is not set, which Prefect would take for empty text,
            runs would look for the workspace where it is not, or Prefect refuses; it has said why.
    """
    file = workspace.root / "prefect.yaml"
    if not file.is_file():
        raise InputError(file, "no such file")
    names = sorted({*_VARIABLE.findall(file.read_text(encoding="utf-8")), "PREFECT_API_URL"})
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ApoError(f"{file}: not set: {', '.join(missing)}; nothing is deployed")
    if _WORKSPACE_VARIABLE in names:
        _check_workspace_path(workspace, os.environ[_WORKSPACE_VARIABLE])
    use_local_prefect(workspace.prefect_home)
    options = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file.resolve())]
    command = python_module("prefect", *options)
    # Prefect imports entrypoints from its working directory first.
    done = subprocess.run(command, cwd=WITHOUT_MODULES, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ApoError("Prefect did not deploy all of it; the same command again makes what is missing")


def _check_workspace_path(workspace: Workspace, named: str) -> None:
    """Refuse a workspace path that a run, which has its own clone of the repository, would not find there."""
    path = path_in_repository(workspace.root)
    if path is not None and PurePosixPath(named) != PurePosixPath(path):
        raise ApoError(
            f"{_WORKSPACE_VARIABLE} is {named}, and the workspace lies at {path} below its repository's "
            "root; nothing is deployed"
        )
