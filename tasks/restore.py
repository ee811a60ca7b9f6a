"""A fresh clone takes up where another machine left off: by the record of a run, and DVC's remote."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.errors import ApoError
from apo_core.files import replacing
from tasks.dvc_remote import has_remote, pull
from tasks.registry import Registered, download_artifact, registry_errors
from tasks.tracking import last_finished_run
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


def restore_last(client: MlflowClient, workspace: Workspace, model: str, log: Callable[[str], None]) -> None:
    """Bring back what the last finished run of a model left, where this workspace has seen no run yet.

    Raises:
        StageRefused: DVC's remote refuses.
        StageFailed: it does not answer now.
    """
    if workspace.summary.exists():
        log("the workspace is its own record: nothing to restore")
        return
    with registry_errors():
        run_id = last_finished_run(client, model)
    if run_id is None:
        log(f"no run of {model} has finished yet: nothing to restore")
    else:
        _take(client, run_id, workspace, {"lineage/dvc.lock": workspace.lock})
        log(f"dvc.lock is that of run {run_id}")
    if has_remote(workspace):
        pull(workspace, log)
    if run_id is not None:  # last: with it the workspace counts as done
        _take(client, run_id, workspace, {"reports/summary.json": workspace.summary})


def restore_version(
    client: MlflowClient, workspace: Workspace, registered: Registered, log: Callable[[str], None]
) -> None:
    """Make a workspace that of a registered version: configuration, `dvc.lock`, and all data that it names.

    Raises:
        ApoError: the workspace has no remote, or the version's run has lost its record.
        StageRefused: DVC's remote refuses.
        StageFailed: it does not answer now.
    """
    if not has_remote(workspace):
        raise ApoError(f"{workspace.root}: has no DVC remote to restore from; see `dvc remote add --default`")
    record = {"lineage/dvc.lock": workspace.lock, "lineage/params.yaml": workspace.params}
    _take(client, registered.run_id, workspace, record)
    pull(workspace, log)


def _take(client: MlflowClient, run_id: str, workspace: Workspace, files: dict[str, Path]) -> None:
    """All of the files of a run, or none."""
    with tempfile.TemporaryDirectory() as directory, registry_errors():
        found = {
            target: download_artifact(client, run_id, path, Path(directory)) for path, target in files.items()
        }
        missing = [path for path, target in files.items() if found[target] is None]
        if missing:
            raise ApoError(f"MLflow run {run_id} has no {', '.join(missing)}")
        for target, source in found.items():
            assert source is not None
            _set_aside(workspace, target)
            with replacing(target) as temporary:
                shutil.copyfile(source, temporary)


def _set_aside(workspace: Workspace, file: Path) -> None:
    """Keep a copy of what is replaced: it may not be in any commit."""
    if file.exists():
        aside = workspace.state / "replaced" / file.name
        with replacing(aside) as temporary:
            shutil.copyfile(file, temporary)
