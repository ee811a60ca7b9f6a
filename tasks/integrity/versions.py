"""Whether the registry's copy of each policy, and the record of its run, are what was registered."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.errors import ApoError
from apo_core.system.files import remove, sha256_of
from tasks.integrity.copies import CopyStore, take_policy
from tasks.integrity.finding import Finding
from tasks.integrity.run_artifacts import (
    CONFIRMATION,
    EVALUATIONS,
    LOCK,
    PARAMS,
    REPORT,
    VALUES,
    problems_of_artifacts,
    send_artifact_again,
)
from tasks.tracking.model_files import FILES_TAG, POLICY, POLICY_TAG, read_hashes
from tasks.tracking.registry import (
    Registered,
    download_model,
    find,
    log_policy_again,
    registry_errors,
    versions_of,
)
from tasks.workspace import Workspace

_WITHOUT = {
    LOCK: "`apo lineage` and `apo restore` refuse its versions",
    PARAMS: "`apo restore` refuses its versions; nobody replaces a champion of it",
    REPORT: "`apo lineage` and `apo restore` refuse its versions",
    VALUES: "`apo lineage` refuses its versions",
    EVALUATIONS: "what was said of its versions cannot be read again",
    CONFIRMATION: "what confirmed its versions cannot be read again",
}

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def check_versions(
    client: MlflowClient, workspace: Workspace, model: str, stores: list[CopyStore], *, mend: bool
) -> Iterator[Finding]:
    """Download every version of a model, and compare its files with the hash that was registered.

    Args:
        client: of the registry.
        workspace: for scratch files.
        model: name of the registered model.
        stores: DVC's cache and remote, where the policy may still be whole.
        mend: send a whole copy to the registry in the place of a damaged one.

    Raises:
        ApoError: the registry does not answer.
    """
    with registry_errors():
        versions = versions_of(client, model)
    for number in sorted(versions, key=int):
        registered = find(client, model, number)
        if registered is None:
            continue
        with tempfile.TemporaryDirectory(dir=workspace.state) as scratch:
            problem = _problem(client, registered, Path(scratch))
            if problem is None:
                continue
            sent = mend and _send_again(client, versions[number], registered, stores, Path(scratch))
        done = "replaced by whole files" if sent else ""
        back = f"`apo rollback {model} --by NAME --reason WHY`"
        advice = f"if it is the champion: {back}" if mend else "`apo fsck`"
        yield Finding("registry", problem, done, advice)


def check_runs(
    client: MlflowClient, workspace: Workspace, model: str, stores: list[CopyStore], *, mend: bool
) -> Iterator[Finding]:
    """Compare what the runs of a model's versions attached with what they recorded of it.

    Args and errors: as of `check_versions`; mended from the workspace, too.
    """
    with registry_errors():
        run_ids = {str(version.run_id) for version in versions_of(client, model).values() if version.run_id}
    for run_id in sorted(run_ids):
        with tempfile.TemporaryDirectory(dir=workspace.state) as directory, registry_errors():
            scratch = Path(directory)
            for artifact, problem in problems_of_artifacts(client, run_id, scratch):
                sent = mend and send_artifact_again(client, workspace, run_id, artifact, stores, scratch)
                done = "replaced by a whole copy" if sent else ""
                advice = f"no whole copy is left: {_WITHOUT[artifact]}" if mend else "`apo fsck`"
                yield Finding("registry", problem, done, advice)


def _problem(client: MlflowClient, registered: Registered, scratch: Path) -> str | None:
    """What is wrong with the registry's files of a version."""
    directory = scratch / "registered"
    remove(directory)
    directory.mkdir()
    try:
        download_model(client, registered, directory)
    except ApoError as error:
        return str(error)
    return None


def _send_again(
    client: MlflowClient,
    version: ModelVersion,
    registered: Registered,
    stores: list[CopyStore],
    scratch: Path,
) -> bool:
    """Replace the registry's files by the policy as its stage wrote it, and what MLflow makes of it."""
    policy, recorded, source = scratch / "sent" / POLICY, version.tags.get(POLICY_TAG), str(version.source)
    if recorded is None or not _take_whole(recorded, stores, scratch, policy):
        return False
    with registry_errors():
        client.log_model_artifacts(source.removeprefix("models:/"), str(policy.parent))
        if _problem(client, registered, scratch) is None:
            return True
        # Something else than the policy: MLflow makes it of the policy.
        sent = log_policy_again(client, policy, source, scratch / "again")
        if read_hashes(source) != sent or sent.policy != recorded:
            return False
        client.set_model_version_tag(registered.name, registered.version, FILES_TAG, sent.files)
    return True


def _take_whole(policy_sha256: str, stores: list[CopyStore], scratch: Path, policy: Path) -> bool:
    """Copy the policy of that hash to a directory: the registry's, if it is whole, else DVC's."""
    downloaded = scratch / "registered" / POLICY
    if downloaded.is_dir() and sha256_of(downloaded) == policy_sha256:
        shutil.copytree(downloaded, policy)
        return True
    return take_policy(policy_sha256, stores, policy)
