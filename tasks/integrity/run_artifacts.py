"""Whether a run's artifacts at MLflow are those that it attached: lineage, report and tables.

A tag of the run has the hash of its `dvc.lock`, which has those of the tables and reports; another tag has
the hash of its `params.yaml`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from apo_core.errors import ApoError
from apo_core.system.files import sha256_of
from tasks.integrity.copies import CopyStore
from tasks.integrity.recorded import md5_of, outputs_in
from tasks.tracking.registry import download_artifact
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK, PARAMS, REPORT = "lineage/dvc.lock", "lineage/params.yaml", "reports/report.json"
VALUES, EVALUATIONS = "tables/values.parquet", "tables/evaluations.parquet"
CONFIRMATION = "tables/confirmation.parquet"
ARTIFACTS = (LOCK, PARAMS, REPORT, VALUES, EVALUATIONS, CONFIRMATION)
"""What decisions, lineage and `apo restore` rest on; `dvc.lock` first, by which others are compared."""

_HASH_TAGS = {LOCK: "dvc_lock_sha256", PARAMS: "params_sha256", CONFIRMATION: "confirmation_sha256"}
# Where each lies in a workspace.
_OWN = {
    LOCK: "dvc.lock",
    PARAMS: "params.yaml",
    VALUES: "data/values.parquet",
    EVALUATIONS: "data/evaluations.parquet",
    CONFIRMATION: "data/unfinished/confirmation.parquet",
}


class DamagedArtifact(ApoError):
    """An artifact of a run is not what the run attached."""


class RecordedHash(NamedTuple):
    """What a run recorded of an artifact."""

    algorithm: str
    """`sha256` or `md5`."""
    value: str

    def of(self, file: Path) -> str:
        """The hash of a file by the same algorithm."""
        return sha256_of(file) if self.algorithm == "sha256" else md5_of(file)


def hash_tags(workspace: Workspace) -> dict[str, str]:
    """The tags by which a run of the workspace records what it attaches."""
    return {_HASH_TAGS[name]: sha256_of(workspace.root / _OWN[name]) for name in (LOCK, PARAMS)}


def record_hash(client: MlflowClient, run_id: str, artifact: str, digest: str) -> None:
    """Record the hash of an artifact that neither `dvc.lock` nor `hash_tags` has."""
    client.set_tag(run_id, _HASH_TAGS[artifact], digest)


def take_artifact(client: MlflowClient, run_id: str, artifact: str, directory: Path) -> Path | None:
    """Download an artifact of a run, and compare it with what the run recorded, if it did.

    Returns:
        The file; None if the run has none of that name.

    Raises:
        DamagedArtifact: it, or the `dvc.lock` by which it is compared, is another.
    """
    file = download_artifact(client, run_id, artifact, directory)
    if file is None:
        return None
    recorded = recorded_hash(client, run_id, artifact, directory)
    if recorded is not None and recorded.of(file) != recorded.value:
        raise DamagedArtifact(
            f"MLflow run {run_id}: {artifact}: is not what the run attached: {recorded.algorithm} "
            f"{recorded.value} is recorded, found {recorded.of(file)}; `apo fsck` sends it again if a whole "
            "copy is left"
        )
    return file


def recorded_hash(client: MlflowClient, run_id: str, artifact: str, directory: Path) -> RecordedHash | None:
    """What a run recorded of an artifact; None where it recorded nothing.

    Args:
        client: of the tracking server.
        run_id: of the run.
        artifact: path in the run.
        directory: for a copy of the run's `dvc.lock`.

    Raises:
        DamagedArtifact: the run's `dvc.lock` is damaged.
    """
    if artifact in _HASH_TAGS:
        value = client.get_run(run_id).data.tags.get(_HASH_TAGS[artifact])
        return None if value is None else RecordedHash("sha256", value)
    lock = take_artifact(client, run_id, LOCK, directory)
    md5s = {} if lock is None else {output.path: output.md5 for output in outputs_in(lock)}
    path = _OWN.get(artifact, artifact)
    return RecordedHash("md5", md5s[path]) if path in md5s else None


def problems_of_artifacts(client: MlflowClient, run_id: str, scratch: Path) -> Iterator[tuple[str, str]]:
    """The artifacts of a run that are damaged or gone, each with the problem in words.

    Where `dvc.lock` is, others cannot be compared; an iteration goes on when it is whole again.
    """
    if not _exists(client, run_id):
        yield LOCK, f"MLflow run {run_id}: is gone"
        return
    for artifact in ARTIFACTS:
        try:
            file = take_artifact(client, run_id, artifact, scratch)
            lost = file is None and recorded_hash(client, run_id, artifact, scratch) is not None
        except DamagedArtifact as damage:
            yield artifact, str(damage)
            if artifact != LOCK:
                continue
            try:
                take_artifact(client, run_id, LOCK, scratch)
            except DamagedArtifact:
                return
        else:
            if lost:
                yield artifact, f"MLflow run {run_id}: {artifact}: is gone"


def _exists(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def send_artifact_again(
    client: MlflowClient,
    workspace: Workspace,
    run_id: str,
    artifact: str,
    stores: list[CopyStore],
    scratch: Path,
) -> bool:
    """Attach a whole copy of an artifact to its run, from the workspace or DVC; False if none is left."""
    recorded = recorded_hash(client, run_id, artifact, scratch) if _exists(client, run_id) else None
    if recorded is None:
        return False
    copy = scratch / "again" / Path(artifact).name
    copy.parent.mkdir(exist_ok=True)
    if not _copy_whole(workspace, artifact, recorded, stores, copy):
        return False
    client.log_artifact(run_id, str(copy), str(Path(artifact).parent))
    return True


def _copy_whole(
    workspace: Workspace, artifact: str, recorded: RecordedHash, stores: list[CopyStore], copy: Path
) -> bool:
    own = [workspace.root / _OWN.get(artifact, artifact)]
    own += [workspace.kept_lock] if artifact == LOCK else []
    whole = next((file for file in own if file.is_file() and recorded.of(file) == recorded.value), None)
    if whole is not None:
        shutil.copyfile(whole, copy)
        return True
    for store in stores if recorded.algorithm == "md5" else ():
        if store.is_whole(recorded.value):
            store.take(recorded.value, copy)
            return True
    return False
