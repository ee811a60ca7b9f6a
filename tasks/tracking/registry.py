"""The MLflow model registry: versions, and the aliases `candidate` and `champion`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry
from apo_core.system.imports import quick_imports
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
POLICY_TAG = "policy_sha256"
_NAMED = re.compile(r"(?P<name>[^@/:'\"]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>\d+))?")


class Registered(NamedTuple):
    """A version of the registered model."""

    name: str
    version: str
    aliases: list[str]
    run_id: str


@contextmanager
def registry_errors() -> Iterator[None]:
    """What the registry refuses, in one line.

    Raises:
        ApoError: no such model, no permission, or no answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ApoError(f"MLflow: {' '.join(str(error.message).split())}") from None


def versions_of(client: MlflowClient, name: str) -> dict[str, ModelVersion]:
    """All versions of a registered model, by number."""
    return {str(found.version): found for found in client.search_model_versions(f"name = '{name}'")}


def find_version(client: MlflowClient, name: str, policy_sha256: str) -> Registered | None:
    """The version that holds exactly this policy, or None."""
    versions = _versions_with(client, name, policy_sha256)
    return _registered(client, versions[0]) if versions else None


def find(client: MlflowClient, name: str, version: str) -> Registered | None:
    """The version of that number, or None."""
    found = versions_of(client, name).get(version)
    return None if found is None else _registered(client, found)


def model_tags(client: MlflowClient, name: str) -> dict[str, str]:
    """Tags of a registered model; none where there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        tags: dict[str, str] = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return tags


def model_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """The version that each alias points to."""
    aliases = client.get_registered_model(name).aliases
    # The number is an int on sqlite and a text over REST.
    return {alias: str(version) for alias, version in aliases.items()}


def champion(client: MlflowClient, name: str) -> Registered | None:
    """The version in production, or None."""
    return holder(client, name, CHAMPION)


def holder(client: MlflowClient, name: str, alias: str) -> Registered | None:
    """The version that has an alias, or None."""
    versions = versions_of(client, name)
    number = model_aliases(client, name).get(alias) if versions else None
    return None if number is None else _registered(client, versions[number])


def resolve(client: MlflowClient, text: str) -> Registered:
    """The version that a person names: `MODEL/VERSION`, `MODEL@ALIAS`, or `MODEL` for its champion.

    Raises:
        ApoError: it has no such form, there is no such version, or the registry does not answer.
    """
    parts = _NAMED.fullmatch(text)
    if parts is None:
        raise ApoError(f"{text!r} is not of the form MODEL, MODEL@ALIAS or MODEL/VERSION")
    name, alias, version = parts["name"], parts["alias"] or CHAMPION, parts["version"]
    with registry_errors():
        found = find(client, name, version) if version else holder(client, name, alias)
    if found is None:
        raise ApoError(f"{name}{f'/{version}' if version else f'@{alias}'}: no such version is registered")
    return found


def tags_of(client: MlflowClient, registered: Registered) -> dict[str, str]:
    """What is recorded of a version, its lineage above all."""
    return dict(client.get_model_version(registered.name, registered.version).tags)


def register(
    client: MlflowClient,
    workspace: Workspace,
    *,
    name: str,
    run_id: str,
    policy_sha256: str,
    tags: dict[str, str],
) -> Registered:
    """Log the policy to its run as a transformers model and make it a version of the registered model."""
    disable_telemetry()
    with quick_imports():
        import mlflow
        import mlflow.transformers

    # It looks for a card and a licence on the hub, and warns that a directory has neither.
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)
    requirements = [f"{package}=={installed(package)}" for package in ("torch", "transformers")]
    mlflow.start_run(run_id=run_id)
    try:
        logged = mlflow.transformers.log_model(
            # Absolute: MLflow would look a relative path up on the hub as a repository's name.
            transformers_model=str(workspace.policy.resolve()),
            task="text-generation",
            name="policy",
            pip_requirements=requirements,
        )
    finally:
        mlflow.end_run("RUNNING")  # the run goes on: only the pipeline knows how it ends
    mlflow.register_model(logged.model_uri, name, tags=tags | {POLICY_TAG: policy_sha256})
    return _only_version(client, name, policy_sha256)


def _only_version(client: MlflowClient, name: str, policy_sha256: str) -> Registered:
    """The first version of a policy, and none beside it.

    A request whose answer is lost with the server is repeated, and has then made two.
    """
    first, *others = sorted(_versions_with(client, name, policy_sha256), key=lambda found: int(found.version))
    for other in others:
        client.delete_model_version(name, str(other.version))
    return _registered(client, first)


def _versions_with(client: MlflowClient, name: str, policy_sha256: str) -> list[ModelVersion]:
    query = f"name = '{name}' and tag.{POLICY_TAG} = '{policy_sha256}'"
    return list(client.search_model_versions(query))


def refreshed(client: MlflowClient, registered: Registered) -> Registered:
    """The version with the aliases that it has now."""
    return _registered(client, client.get_model_version(registered.name, registered.version))


def download_artifact(client: MlflowClient, run_id: str, path: str, directory: Path) -> Path | None:
    """Fetch a run's artifact into a directory; None where the run has none of that path."""
    parent = str(Path(path).parent)
    if path not in [artifact.path for artifact in client.list_artifacts(run_id, parent)]:
        return None
    return Path(client.download_artifacts(run_id, path, str(directory)))


def download_model(registered: Registered, directory: Path) -> Path:
    """Fetch a version's Hugging Face directory.

    Raises:
        ApoError: its files are gone.
    """
    import mlflow

    source = f"models:/{registered.name}/{registered.version}"
    try:
        whole = mlflow.artifacts.download_artifacts(source, dst_path=str(directory))
    except (mlflow.MlflowException, OSError) as error:
        if not _is_gone(error):  # it may be there again in a minute
            raise
        raise ApoError(f"{source}: cannot be downloaded: {error}") from error
    return Path(whole) / "model"


def _is_gone(error: Exception) -> bool:
    """Whether an error says that a thing is not there, rather than that it cannot be had now."""
    answer = getattr(error, "response", None)  # of requests, whose errors are OSErrors
    if answer is not None:
        return bool(answer.status_code == 404)
    return isinstance(error, FileNotFoundError) or getattr(error, "error_code", None) in (
        "RESOURCE_DOES_NOT_EXIST",
        "NOT_FOUND",
    )


def _registered(client: MlflowClient, version: ModelVersion) -> Registered:
    aliases = model_aliases(client, version.name)
    own = sorted(alias for alias, number in aliases.items() if number == str(version.version))
    return Registered(version.name, str(version.version), own, str(version.run_id))
