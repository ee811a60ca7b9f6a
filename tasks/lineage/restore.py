"""Restore a workspace from the record of a run in MLflow, and the data on DVC's remote."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.errors import ApoError
from apo_core.system.files import remove, replacing
from tasks.dvc.remote import has_remote, pull
from tasks.dvc.state import pending
from tasks.integrity.run_artifacts import LOCK, PARAMS, REPORT, take_artifact
from tasks.tracking.registry import Registered, registry_errors
from tasks.tracking.runs import last_finished_run
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


def restore_last(client: MlflowClient, workspace: Workspace, model: str, log: Callable[[str], None]) -> None:
    """Bring back what the last finished run of a model left, if this workspace has seen no run yet.

    Data that DVC's remote does not have is made again by its stage.

    Raises:
        StageRefused: DVC's remote refuses.
        StageFailed: it does not answer now.
    """
    if workspace.summary.exists():
        log("the workspace has a summary of its own: nothing to restore")
        return
    with registry_errors():
        run_id = last_finished_run(client, model)
    if run_id is None:
        log(f"no run of {model} has finished yet: nothing to restore")
    else:
        _take(client, run_id, _record(workspace))
        log(f"dvc.lock is that of run {run_id}")
    if has_remote(workspace):
        pull(workspace, log, missing="made again")
    if run_id is not None:  # last: with it the workspace counts as done
        _take(client, run_id, {"reports/summary.json": workspace.summary})


def restore_version(
    client: MlflowClient, workspace: Workspace, registered: Registered, log: Callable[[str], None]
) -> list[str]:
    """Give a workspace the state of a registered version: configuration, `dvc.lock`, and all data it names.

    Replaced files are kept below `.apo/replaced`, and are put back if the data cannot be pulled.

    Returns:
        The stages whose inputs in git are not those of the version: another commit is checked out.

    Raises:
        ApoError: the workspace has no remote, or the record of the version's run is lost or damaged.
        StageRefused: DVC's remote refuses, or does not have all of it.
        StageFailed: it does not answer now.
    """
    if not has_remote(workspace):
        raise ApoError(f"{workspace.root}: has no DVC remote to restore from; see `dvc remote add --default`")
    record = {**_record(workspace), PARAMS: workspace.params}
    with _kept(workspace, list(record.values())) as aside:
        _take(client, registered.run_id, record)
        pull(workspace, log, missing="refused")
    if aside.exists():
        log(f"params.yaml, dvc.lock and report.json as they were are in {aside}")
    return pending(workspace.root)


def _record(workspace: Workspace) -> dict[str, Path]:
    """The files DVC compares with, by their paths in a run; the report, too, is outside DVC's cache."""
    return {LOCK: workspace.lock, REPORT: workspace.report}


def _take(client: MlflowClient, run_id: str, files: dict[str, Path]) -> None:
    """Take all of the files of a run, or none.

    Raises:
        ApoError: one is missing, or is not what the run attached.
    """
    with tempfile.TemporaryDirectory() as directory, registry_errors():
        downloads = {path: take_artifact(client, run_id, path, Path(directory)) for path in files}
        missing = [path for path, source in downloads.items() if source is None]
        if missing:
            raise ApoError(f"MLflow run {run_id} has no {', '.join(missing)}")
        for path, source in downloads.items():
            if source is not None:
                _copy(source, files[path])


@contextmanager
def _kept(workspace: Workspace, files: list[Path]) -> Iterator[Path]:
    """Keep copies of files that may be in no commit, and put the files back if the block fails.

    Yields:
        The directory of the copies; it does not exist if no file did.
    """
    aside = workspace.state / "replaced" / time.strftime("%Y-%m-%d-%H-%M-%S")
    existing = [file for file in files if file.exists()]
    for file in existing:
        _copy(file, aside / file.name)
    try:
        yield aside
    except BaseException:
        for file in files:
            remove(file)
        for file in existing:
            _copy(aside / file.name, file)
        raise


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
