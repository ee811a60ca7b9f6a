"""The MLflow model registry: versions, and the aliases `candidate` and `champion`."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry
from apo_core.system.imports import quick_imports
from tasks.tracking.model_files import (
    POLICY,
    POLICY_TAG,
    DamagedModel,
    ModelHashes,
    hashes_in,
    is_gone,
    read_hashes,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CANDIDATE, CHAMPION = "candidate", "champion"
_SPEC = re.compile(r"(?P<name>[^@/:'\"]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>\d+))?")


class VersionSpec(NamedTuple):
    """How a person names a version: `MODEL/VERSION`, `MODEL@ALIAS`, or `MODEL` for its champion."""

    model: str
    alias: str
    version: str | None  # where it is given, the alias does not count

    def __str__(self) -> str:
        return f"{self.model}/{self.version}" if self.version else f"{self.model}@{self.alias}"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of the registered model."""

    name: str
    version: str
    aliases: list[str]
    run_id: str


@contextmanager
def registry_errors() -> Iterator[None]:
    """Turn what the registry refuses into an error of one line.

    Raises:
        ApoError: no such model, no permission, or no answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ApoError(f"MLflow: {' '.join(str(error.message).split())}") from None


def versions_of(client: MlflowClient, name: str) -> dict[str, ModelVersion]:
    """Read all versions of a registered model, by number."""
    return {str(version.version): version for version in client.search_model_versions(f"name = '{name}'")}


def find_version(client: MlflowClient, name: str, policy_sha256: str) -> Registered | None:
    """Find the version that holds exactly this policy, or None."""
    versions = _versions_with(client, name, policy_sha256)
    return _registered(client, versions[0]) if versions else None


def find(client: MlflowClient, name: str, version: str) -> Registered | None:
    """Find the version of that number, or None."""
    registered = versions_of(client, name).get(version)
    return None if registered is None else _registered(client, registered)


def model_tags(client: MlflowClient, name: str) -> dict[str, str]:
    """Read the tags of a registered model; none if there is no such model."""
    registered = _model(client, name)
    return {} if registered is None else dict(registered.tags)


def model_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Read which version each alias points to."""
    aliases = client.get_registered_model(name).aliases
    # The number is an int on sqlite and a text over REST.
    return {alias: str(version) for alias, version in aliases.items()}


def champion(client: MlflowClient, name: str) -> Registered | None:
    """Find the version in production, or None."""
    return holder(client, name, CHAMPION)


def holder(client: MlflowClient, name: str, alias: str) -> Registered | None:
    """Find the version that has an alias, or None."""
    versions = versions_of(client, name)
    number = model_aliases(client, name).get(alias) if versions else None
    return None if number is None else _registered(client, versions[number])


def parse_spec(text: str) -> VersionSpec:
    """Parse `MODEL/VERSION`, `MODEL@ALIAS`, or `MODEL`.

    Raises:
        ApoError: the text has another form.
    """
    parts = _SPEC.fullmatch(text)
    if parts is None:
        raise ApoError(f"{text!r} is not of the form MODEL, MODEL@ALIAS or MODEL/VERSION")
    return VersionSpec(parts["name"], parts["alias"] or CHAMPION, parts["version"])


def resolve(client: MlflowClient, spec: VersionSpec) -> Registered:
    """Find the version that a person names, by the aliases as they are now; see `DecisionLog.resolve`.

    Raises:
        ApoError: there is no such version, or the registry does not answer.
    """
    with registry_errors():
        if spec.version is not None:
            registered = find(client, spec.model, spec.version)
        else:
            registered = holder(client, spec.model, spec.alias)
    if registered is None:
        raise ApoError(f"{spec}: no such version is registered")
    return registered


def tags_of(client: MlflowClient, registered: Registered) -> dict[str, str]:
    """Read the tags of a version; they hold its lineage above all."""
    return dict(client.get_model_version(registered.name, registered.version).tags)


def register(
    client: MlflowClient, directory: Path, *, name: str, run_id: str, policy_sha256: str, tags: dict[str, str]
) -> Registered:
    """Log a policy to its run as a transformers model and make it a version of the registered model.

    Raises:
        DamagedModel: what the registry has of it now is not the policy of that hash; nothing is registered.
    """
    address = log_policy(directory, run_id)
    hashes = read_hashes(address)
    hashes.check({POLICY_TAG: policy_sha256}, f"{directory} as MLflow keeps it")
    register_logged(name, address, tags | hashes.tags())
    return _only_version(client, name, policy_sha256)


def log_policy(directory: Path, run_id: str) -> str:
    """Log a Hugging Face directory to a run as a transformers model; returns its address at MLflow."""
    disable_telemetry()
    with quick_imports():
        import mlflow
        import mlflow.transformers

    mlflow.start_run(run_id=run_id)
    try:
        logged = mlflow.transformers.log_model(name="policy", **_transformers_model(directory))
    finally:
        mlflow.end_run("RUNNING")  # the run goes on: only the pipeline knows how it ends
    return str(logged.model_uri)


def log_policy_again(client: MlflowClient, policy: Path, address: str, scratch: Path) -> ModelHashes:
    """Replace the files of a logged model by those that MLflow makes of the policy today.

    Args:
        client: of the registry.
        policy: Hugging Face directory.
        address: of the logged model, `models:/ID`.
        scratch: directory for the files, which are made there first.

    Returns:
        The hashes of what was sent.
    """
    disable_telemetry()
    with quick_imports():
        import mlflow.transformers
        from mlflow.models import Model

    logged = client.get_logged_model(address.removeprefix("models:/"))
    model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=logged.source_run_id,
    )
    mlflow.transformers.save_model(path=str(scratch), mlflow_model=model, **_transformers_model(policy))
    client.log_model_artifacts(logged.model_id, str(scratch))
    return hashes_in(scratch)


def _transformers_model(directory: Path) -> dict[str, Any]:
    """How MLflow is to log a Hugging Face directory."""
    # MLflow looks for a model card and a licence on the hub, and warns that a directory has neither.
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)
    return {
        # Absolute: MLflow would look a relative path up on the hub as a repository's name.
        "transformers_model": str(directory.resolve()),
        "task": "text-generation",
        "pip_requirements": [f"{package}=={installed(package)}" for package in ("torch", "transformers")],
    }


def register_logged(name: str, address: str, tags: dict[str, str]) -> int:
    """Make a logged model the next version of a registered one; returns the number that MLflow gave it."""
    import mlflow

    with redirect_stderr(io.StringIO()):  # it tells the terminal that it makes a new version, whatever for
        return int(mlflow.register_model(address, name, tags=tags).version)


def has_model(client: MlflowClient, name: str) -> bool:
    """Whether there is a registered model of that name."""
    return _model(client, name) is not None


def _model(client: MlflowClient, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _only_version(client: MlflowClient, name: str, policy_sha256: str) -> Registered:
    """Keep the first version of a policy, and delete any other.

    A request whose answer was lost because the server went away is repeated, and has then made two versions.
    """
    versions = _versions_with(client, name, policy_sha256)
    first, *others = sorted(versions, key=lambda version: int(version.version))
    for other in others:
        client.delete_model_version(name, str(other.version))
    return _registered(client, first)


def _versions_with(client: MlflowClient, name: str, policy_sha256: str) -> list[ModelVersion]:
    query = f"name = '{name}' and tag.{POLICY_TAG} = '{policy_sha256}'"
    return list(client.search_model_versions(query))


def refreshed(client: MlflowClient, registered: Registered) -> Registered:
    """Read a version again, with the aliases that it has now."""
    return _registered(client, client.get_model_version(registered.name, registered.version))


def download_artifact(client: MlflowClient, run_id: str, path: str, directory: Path) -> Path | None:
    """Download a run's artifact into a directory; None if the run has no artifact of that path."""
    parent = str(Path(path).parent)
    if path not in [artifact.path for artifact in client.list_artifacts(run_id, parent)]:
        return None
    return Path(client.download_artifacts(run_id, path, str(directory)))


def check_model(client: MlflowClient, registered: Registered) -> None:
    """Read the registry's files of a version, and compare them with their recorded hashes, if there are any.

    Raises:
        DamagedModel: they are gone or damaged.
    """
    source, tags = f"models:/{registered.name}/{registered.version}", tags_of(client, registered)
    if POLICY_TAG in tags:
        read_hashes(source).check(tags, source)


def download_model(client: MlflowClient, registered: Registered, directory: Path) -> Path:
    """Download the Hugging Face model directory of a version, and compare it with what was registered.

    Args:
        client: of the registry.
        registered: the version.
        directory: a new or an empty one: all that is in it afterwards counts as the model's.

    Raises:
        DamagedModel: its files are gone or damaged.
    """
    import mlflow

    source = f"models:/{registered.name}/{registered.version}"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        whole = mlflow.artifacts.download_artifacts(source, dst_path=str(directory))
    except (mlflow.MlflowException, OSError) as error:
        if not is_gone(error):  # the server may be back in a minute
            raise
        raise DamagedModel(f"{source}: cannot be downloaded: {error}") from error
    model = Path(whole) / POLICY
    if not model.is_dir():
        raise DamagedModel(f"{source}: has lost its model directory")
    hashes_in(Path(whole)).check(tags_of(client, registered), source)
    return model


def _registered(client: MlflowClient, version: ModelVersion) -> Registered:
    aliases = model_aliases(client, version.name)
    own = sorted(alias for alias, number in aliases.items() if number == str(version.version))
    return Registered(
        name=version.name, version=str(version.version), aliases=own, run_id=str(version.run_id)
    )
