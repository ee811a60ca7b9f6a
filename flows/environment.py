"""Settings of Prefect, DVC and MLflow for one workspace; to be applied before they are imported."""

from __future__ import annotations

import os
from pathlib import Path

from apo_core.system.environment import keep_imports_safe
from tasks.workspace import Workspace

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # in logs it is noise
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def be_quiet() -> None:
    """Nothing that this process or what it starts uses phones home, unless the caller wants it to.

    And nothing that it starts imports from a workspace.
    """
    keep_imports_safe()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def settings(workspace: Workspace) -> dict[str, str]:
    """Local databases below `.apo`, and nothing that phones home."""
    home = workspace.state.resolve() / "prefect"
    return {
        "PREFECT_HOME": str(home),
        # These two ignore PREFECT_HOME.
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
        **_QUIET,
    }


def apply(workspace: Workspace) -> None:
    """Set what the caller has not set already: a user's own servers win."""
    for name, value in settings(workspace).items():
        os.environ.setdefault(name, value)
    # Prefect makes the last part of its home only, and starts no server without it.
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
