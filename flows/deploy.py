"""`apo deploy`: Prefect's own deploy, once all that `prefect.yaml` takes from the environment is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from apo_core.errors import ApoError, InputError
from flows import environment
from tasks.workspace import Workspace

_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")  # as Prefect writes them


def deploy(workspace: Workspace) -> None:
    """Make the deployments of a workspace; those that are there are changed.

    Raises:
        ApoError: there is no `prefect.yaml`, a variable is not set, which Prefect would take for empty text,
            or Prefect refuses; it has said why.
    """
    file = workspace.root / "prefect.yaml"
    if not file.is_file():
        raise InputError(file, "no such file")
    names = sorted({*_VARIABLE.findall(file.read_text(encoding="utf-8")), "PREFECT_API_URL"})
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ApoError(f"{file}: not set: {', '.join(missing)}; nothing is deployed")
    environment.apply(workspace)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=workspace.root, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ApoError("Prefect did not deploy all of it; the same command again makes what is missing")
