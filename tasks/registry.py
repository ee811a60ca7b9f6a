"""The MLflow model registry: versions, and the aliases `candidate` and `champion`."""

from __future__ import annotations

import logging
import os
import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from apo_core.errors import ApoError
from apo_core.imports import quick_imports
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


def find_version(client: MlflowClient, name: str, policy_sha256: str) -> Registered | None:
    """The version that holds exactly this policy, or None."""
    query = f"name = '{name}' and tag.{POLICY_TAG} = '{policy_sha256}'"
    versions = client.search_model_versions(query)
    return _registered(client, versions[0]) if versions else None


def find(client: MlflowClient, name: str, version: str) -> Registered | None:
    """The version of that number, or None."""
    found = client.search_model_versions(f"name = '{name}'")
    return next((_registered(client, one) for one in found if str(one.version) == version), None)


def champion(client: MlflowClient, name: str) -> Registered | None:
    """The version in production, or None."""
    return holder(client, name, CHAMPION)


def holder(client: MlflowClient, name: str, alias: str) -> Registered | None:
    """The version that has an alias, or None."""
    found = client.search_model_versions(f"name = '{name}'")
    for version in found:
        registered = _registered(client, version)
        if alias in registered.aliases:
            return registered
    return None


def resolve(client: MlflowClient, text: str) -> Registered:
    """The version that a person names: `MODEL/VERSION`, `MODEL@ALIAS`, or `MODEL` for its champion.

    Raises:
        ApoError: it has no such form, there is no such version, or the registry does not answer.
    """
    from mlflow import MlflowException

    parts = _NAMED.fullmatch(text)
    if parts is None:
        raise ApoError(f"{text!r} is not of the form MODEL, MODEL@ALIAS or MODEL/VERSION")
    name, alias, version = parts["name"], parts["alias"] or CHAMPION, parts["version"]
    try:
        found = find(client, name, version) if version else holder(client, name, alias)
    except MlflowException as error:
        raise ApoError(f"{text}: the registry does not answer: {str(error).splitlines()[0]}") from None
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
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
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
    version = mlflow.register_model(logged.model_uri, name, tags=tags | {POLICY_TAG: policy_sha256})
    return _registered(client, version)


def point(client: MlflowClient, registered: Registered, alias: str) -> Registered:
    """Move an alias to this version."""
    client.set_registered_model_alias(registered.name, alias, registered.version)
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
        raise ApoError(f"{source}: cannot be downloaded: {error}") from error
    return Path(whole) / "model"


def _registered(client: MlflowClient, version: ModelVersion) -> Registered:
    aliases = client.get_registered_model(version.name).aliases
    own = sorted(alias for alias, holder in aliases.items() if str(holder) == str(version.version))
    # The number is an int on sqlite and a text over REST.
    return Registered(version.name, str(version.version), own, str(version.run_id))
