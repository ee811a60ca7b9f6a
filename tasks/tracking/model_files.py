"""The files that the registry keeps of a model, and whether they are those that were registered.

A logged model is a directory: `model/` has the policy, `components/` the tokenizer that MLflow loads it with,
`MLmodel` and the lists of requirements say how.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from apo_core.errors import ApoError
from apo_core.system.files import combined_hash, hashes_below, sha256_of

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

POLICY_TAG = "policy_sha256"  # of a version: the policy's directory
FILES_TAG = "files_sha256"  # of a version: all files of the logged model
POLICY = "model"
"""The policy's directory in a logged model."""

_ADDED_WHEN_READ = "registered_model_meta"  # MLflow writes it into its own copy as well


class DamagedModel(ApoError):
    """The registry's files of a model are not what was registered, or are gone."""


class ModelHashes(NamedTuple):
    """The hashes of a logged model, by the tags that record them."""

    policy: str
    files: str

    def tags(self) -> dict[str, str]:
        """As tags of a version."""
        return {POLICY_TAG: self.policy, FILES_TAG: self.files}

    def check(self, recorded: Mapping[str, Any], source: str) -> None:
        """Compare with the tags of a version, or with the evidence of a decision.

        Raises:
            DamagedModel: a hash is another than the recorded one.
        """
        for tag, actual in self.tags().items():
            if recorded.get(tag) not in (None, actual):
                raise DamagedModel(
                    f"{source}: its files are not what was registered: {tag} {recorded[tag]} is recorded, "
                    f"found {actual}; `apo fsck` sends them again if DVC keeps them"
                )


def hashes_in(directory: Path) -> ModelHashes:
    """Hash a copy of a logged model."""
    return _hashes(hashes_below(directory))


def read_hashes(address: str) -> ModelHashes:
    """Read all files of a logged model, and hash them: in place, or one by one where a server keeps them.

    Args:
        address: `models:/NAME/NUMBER` of a version, or `models:/ID` of a logged model.

    Raises:
        DamagedModel: there are none.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    try:
        files = get_artifact_repository(ModelsArtifactRepository.get_underlying_uri(address))
        if isinstance(files, LocalArtifactRepository):
            return hashes_in(Path(files.artifact_dir))
        return _hashes({path: _hash_of(files, path) for path in _paths(files, None)})
    except (MlflowException, OSError) as error:
        if not is_gone(error):  # the server may be back in a minute
            raise
        raise DamagedModel(f"{address}: cannot be read: {error}") from error


def is_gone(error: Exception) -> bool:
    """Whether an error says that a file does not exist, rather than that the server is away."""
    answer = getattr(error, "response", None)  # errors of requests are OSErrors
    if answer is not None:
        return bool(answer.status_code == 404)
    return isinstance(error, FileNotFoundError) or getattr(error, "error_code", None) in (
        "RESOURCE_DOES_NOT_EXIST",
        "NOT_FOUND",
    )


def _hashes(sha256s: dict[str, str]) -> ModelHashes:
    below = f"{POLICY}/"
    policy = {path.removeprefix(below): own for path, own in sha256s.items() if path.startswith(below)}
    files = {path: own for path, own in sha256s.items() if path != _ADDED_WHEN_READ}
    return ModelHashes(combined_hash(policy), combined_hash(files))


def _paths(files: ArtifactRepository, directory: str | None) -> Iterator[str]:
    for entry in files.list_artifacts(directory):
        if entry.is_dir:
            yield from _paths(files, entry.path)
        else:
            yield entry.path


def _hash_of(files: ArtifactRepository, path: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return sha256_of(Path(files.download_artifacts(path, scratch)))
