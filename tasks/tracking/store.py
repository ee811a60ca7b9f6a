"""Which MLflow a workspace uses: the server that the environment names, else a store of its own in `.apo`."""

from __future__ import annotations

import logging
import os
import sqlite3
import ssl
import time
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from apo_core.errors import ApoError, StageRefused
from apo_core.system.environment import disable_telemetry
from apo_core.system.files import replacing
from apo_core.system.imports import quick_imports
from tasks.workspace import Workspace, check_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ARTIFACTS = "mlartifacts"
AWAY = (502, 503, 504)  # what a proxy answers for a server that is away
_AWAY_AT_START = (429, 500, *AWAY)  # upon which MLflow's client tries again for minutes
_HEALTH_SECONDS = 5.0
_AWAY_SECONDS = 30.0  # that a run waits for a server
_BUSY_SECONDS = 60.0  # another process may be writing
# Where MLflow's tables have whole addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def connect(workspace: Workspace) -> MlflowClient:
    """Connect to the tracking server of `MLFLOW_TRACKING_URI`, else to the workspace's own sqlite store."""
    disable_telemetry()
    with quick_imports():
        import mlflow

    uri = tracking_uri(workspace)
    check_registry_uri(workspace)
    if uri == _embedded_uri(workspace):
        check_path(workspace)
        if _is_made(_embedded_store(workspace)):
            check_schema(workspace)
            follow_workspace(workspace)
        else:
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            # MLflow creates its tables step by step, and cannot resume that after a kill.
            with replacing(_embedded_store(workspace)) as temporary:
                mlflow.MlflowClient(f"sqlite:///{temporary.resolve()}").search_experiments()
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def tracking_uri(workspace: Workspace) -> str:
    """Where runs are recorded."""
    return os.environ.get("MLFLOW_TRACKING_URI", "") or _embedded_uri(workspace)


def check_registry_uri(workspace: Workspace) -> None:
    """Refuse a registry elsewhere than the runs: runs, versions and the log of decisions belong together.

    Raises:
        ApoError: names the variable and both addresses.
    """
    registry, runs = os.environ.get("MLFLOW_REGISTRY_URI", ""), tracking_uri(workspace)
    if registry and registry.rstrip("/") != runs.rstrip("/"):
        raise ApoError(
            f"MLFLOW_REGISTRY_URI is {without_password(registry)}, and runs are recorded at "
            f"{without_password(runs)}: versions are registered where their runs are; unset it"
        )


def is_remote(uri: str) -> bool:
    """Whether a tracking URI is a server's."""
    return uri.startswith(("http://", "https://"))


class TrackingAway(StageRefused):
    """The tracking server is away for longer than a run waits for it: a person starts it again, or later."""


def check_server(workspace: Workspace) -> None:
    """Refuse a tracking server that does not answer, after seconds; MLflow itself would try for minutes.

    Raises:
        ApoError: names the address; or the registry is another one.
    """
    check_registry_uri(workspace)
    uri = tracking_uri(workspace)
    if not is_remote(uri):
        return
    shown = without_password(uri)
    try:
        with urllib.request.urlopen(f"{shown}/health", timeout=_HEALTH_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        if error.code in _AWAY_AT_START:
            raise _unanswered(shown, error) from None
    except (OSError, HTTPException, ValueError) as error:
        if is_of_tls(error):  # MLflow has settings of its own for certificates
            return
        raise _unanswered(shown, error) from None


def _unanswered(shown: str, error: Exception) -> ApoError:
    reason = getattr(error, "reason", error)
    return ApoError(
        f"MLFLOW_TRACKING_URI: {shown} does not answer ({reason}); start that server, or unset the variable"
    )


def await_server(workspace: Workspace, *, seconds: float = _AWAY_SECONDS) -> None:
    """Wait for a tracking server that is started anew, and no longer.

    Raises:
        TrackingAway: it has not answered for so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            check_server(workspace)
        except ApoError as problem:
            if time.monotonic() > deadline:
                raise TrackingAway(
                    f"{problem}; nothing is lost: the same command goes on from here"
                ) from None
            time.sleep(1)
        else:
            return


def is_of_tls(error: Exception) -> bool:
    """Whether a server is there, and this program does not know its certificate."""
    return isinstance(getattr(error, "reason", error), ssl.SSLError)


def check_schema(workspace: Workspace) -> None:
    """Refuse a store of the workspace's own that another version of MLflow made.

    Raises:
        ApoError: names the file, and the command that brings it up to date.
    """
    file = _embedded_store(workspace)
    if tracking_uri(workspace) != _embedded_uri(workspace) or not _is_made(file):
        return
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as store:
            rows = store.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.DatabaseError as error:
        raise ApoError(f"{file}: {error}; see `apo fsck`") from None
    scripts = ScriptDirectory.from_config(_get_alembic_config(db_url=""))
    expected = scripts.get_current_head()
    if rows == [(expected,)]:
        return
    actual = ", ".join(str(row[0]) for row in rows) or "none"
    known = {script.revision for script in scripts.walk_revisions()}
    remedy = (
        f"keep a copy, then: mlflow db upgrade {_embedded_uri(workspace)}"
        if actual in known
        else "it is newer, or damaged: use the version of apo-flow that made it, or see `apo fsck`"
    )
    raise ApoError(
        f"{file}: is of another version of MLflow (schema {actual}, expected {expected}); {remedy}"
    )


def without_password(uri: str) -> str:
    """An address as it may be shown and sent on."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def has_registry(workspace: Workspace) -> bool:
    """Whether there is a registry to ask: a server, or the workspace's own store after its first run."""
    return tracking_uri(workspace) != _embedded_uri(workspace) or _is_made(_embedded_store(workspace))


def artifact_location(workspace: Workspace) -> str | None:
    """Where the workspace's own store keeps artifacts; None where a server decides."""
    # By the address, not by MLFLOW_TRACKING_URI: MLflow sets this variable itself.
    embedded = tracking_uri(workspace) == _embedded_uri(workspace)
    return (workspace.state.resolve() / _ARTIFACTS).as_uri() if embedded else None


def _embedded_uri(workspace: Workspace) -> str:
    return f"sqlite:///{_embedded_store(workspace)}"


def _embedded_store(workspace: Workspace) -> Path:
    return workspace.state.resolve() / "mlflow.db"


def _is_made(store: Path) -> bool:
    """Whether a store holds anything: an empty file is as lost as a missing one."""
    return store.exists() and store.stat().st_size > 0


def follow_workspace(workspace: Workspace) -> None:
    """Where a workspace was moved or copied, make its store's whole addresses those of its own artifacts.

    Else MLflow writes into the old place, which may be another workspace by now, and reads from it. A store
    that may only be read stays as it is. Nothing is done where a server keeps the artifacts.

    Raises:
        ApoError: the store is damaged, or busy for a minute.
    """
    here = artifact_location(workspace)
    file = _embedded_store(workspace)
    if here is None or not _is_made(file):
        return
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as store:
            _replace_location(store, f"file://%/{_ARTIFACTS}", here)
    except sqlite3.DatabaseError as error:
        if "readonly" not in str(error):
            raise ApoError(f"{file}: {error}; see `apo fsck`") from None


def _replace_location(store: sqlite3.Connection, pattern: str, here: str) -> None:
    """Make addresses below a location of that pattern, other than `here`, those below `here`."""
    query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?"
    for (location,) in store.execute(query, (pattern,)).fetchall():
        if location == here:
            continue
        for table, column in _ADDRESSES:
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(location) + 1, location, len(location) + 1, f"{location}/"),
            )
    store.commit()
