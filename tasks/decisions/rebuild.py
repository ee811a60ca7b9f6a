"""Make a lost registry again, from the log of decisions, MLflow's runs and the copies that DVC keeps.

MLflow gives a registered model's numbers in order, and none twice, not even that of a deleted version; only a
registered model that is made anew begins at 1 again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from apo_core.decisions.approval_rule import state_of
from apo_core.errors import ApoError
from tasks.decisions.log import DecisionLog
from tasks.integrity.copies import CopyStore, opened, take_policy
from tasks.tracking.model_files import POLICY_TAG, DamagedModel, ModelHashes, read_hashes
from tasks.tracking.registry import (
    has_model,
    log_policy,
    model_tags,
    register_logged,
    registry_errors,
    versions_of,
)
from tasks.tracking.runs import experiment_of
from tasks.tracking.store import artifact_location
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PLACEHOLDER = "placeholder"  # a tag of versions that only hold a number
_GIVEN_UP_TAG = "lost_up_to"  # of the registered model: lost versions up to this number cannot be made again


class _Model(NamedTuple):
    """A logged model that holds a lost version's policy."""

    address: str
    hashes: ModelHashes


def lost_versions(log: DecisionLog) -> list[int]:
    """The versions that the log names and the registry is too young to have had: it was lost, or is older.

    A version that was deleted while the registry had later ones is not among them, nor is one whose number
    `rebuild` could not give again.

    Raises:
        ApoError: the registry has another policy under the number of a version that the log names.
    """
    logged = state_of(log.read()).candidates
    with registry_errors():
        versions = versions_of(log.client, log.model) if has_model(log.client, log.model) else {}
        given_up = int(model_tags(log.client, log.model).get(_GIVEN_UP_TAG, 0))
    own = {number: version.tags for number, version in versions.items() if _PLACEHOLDER not in version.tags}
    for number, tags in own.items():
        recorded = logged[number].evidence.get(POLICY_TAG) if number in logged else None
        if recorded not in (None, tags.get(POLICY_TAG)):
            raise ApoError(
                f"{log.model}: version {number} of the registry is another policy than the log's: delete all "
                f"versions on MLflow's page, then `apo reconcile {log.model}` registers the log's again; or "
                "choose another tracking.model"
            )
    highest = max([given_up, *map(int, own)]) if own else 0  # without any, numbers begin again
    return sorted(int(number) for number in logged if int(number) > highest)


def refuse_lost_registry(log: DecisionLog) -> None:
    """Refuse where the registry lacks versions that the log has decisions on.

    Raises:
        ApoError: says what to do. A training would end where its policy cannot be registered.
    """
    if lost := lost_versions(log):
        raise ApoError(lost_in_words(log.model, lost))


def lost_in_words(model: str, lost: list[int]) -> str:
    """Say which versions are lost, and what makes them again."""
    numbers = ", ".join(map(str, lost))
    return (
        f"{model}: the log has decisions on version {numbers}, and the registry has no such version: was it "
        f"lost, or is this another registry? `apo reconcile {model}` makes it again"
    )


def needs_rebuild(log: DecisionLog) -> bool:
    """Whether versions are lost, or `rebuild` was killed before its end; raises as `lost_versions` does."""
    if lost_versions(log):
        return True
    with registry_errors():
        return bool(_placeholders(log.client, log.model))


def rebuild(log: DecisionLog, workspace: Workspace, experiment: str) -> list[str]:
    """Register lost versions again, under their numbers; the aliases are set afterwards.

    A version is taken from the MLflow run that logged it; if that is gone or damaged, its policy comes from
    DVC's cache or remote. One that is killed is completed by the next. Where no version is left, the
    registered model is made anew, so that its numbers begin again; else a number that MLflow has used up is
    not given again, and its version stays lost.

    Args:
        log: of the model.
        workspace: whose copies are looked through; the caller holds its lock.
        experiment: for new runs, `tracking.experiment`.

    Returns:
        A line per version.

    Raises:
        ApoError: no policy of any lost version is left.
    """
    lost = lost_versions(log)
    if not lost:
        with registry_errors():  # of one that was killed at its end
            _delete_placeholders(log.client, log.model)
        return []
    entries, client = log.read(), log.client
    state = state_of(entries)
    evidence = {number: state.candidates[str(number)].evidence for number in lost}
    # More than one where a version was proposed again: the first has logged it.
    run_ids = {
        number: [
            entry.evidence["run_id"]
            for entry in entries
            if (entry.event, entry.version) == ("candidate", str(number))
        ]
        for number in lost
    }
    with (
        registry_errors(),
        opened(workspace, "cache") as cache,
        opened(workspace, "remote") as remote,
        tempfile.TemporaryDirectory(dir=workspace.state) as scratch,
    ):
        stores = [store for store in (cache, remote) if store is not None]
        logged = {
            number: _whole_model(client, run_ids[number], facts)
            or _log_again(client, workspace, experiment, facts, stores, Path(scratch) / str(number))
            for number, facts in evidence.items()
        }
        models = {number: model for number, model in logged.items() if model is not None}
        if not models:
            raise ApoError(f"{log.model}: neither MLflow's runs nor DVC have the policy of a lost version")
        _make_empty_model(client, log.model)
        registered = _register(client, log.model, lost, models, evidence)
        _delete_placeholders(client, log.model)
        if registered != set(lost):  # else no run could ever begin again
            client.set_registered_model_tag(log.model, _GIVEN_UP_TAG, str(max(lost)))
    lines = [f"{log.model}: version {number} {_outcome(number, registered, models)}" for number in lost]
    champion = state.champion
    if champion is not None and int(champion) in set(lost) - registered:
        lines.append(
            f"{log.model}: there is no champion: `apo rollback {log.model} --by NAME --reason WHY` "
            "goes back to the one before"
        )
    return lines


def _make_empty_model(client: MlflowClient, model: str) -> None:
    """Make a registered model that has no version anew, with what it remembers of the log."""
    versions = versions_of(client, model)
    if any(_PLACEHOLDER not in version.tags for version in versions.values()):
        return
    tags, description = model_tags(client, model), None
    tags.pop(_GIVEN_UP_TAG, None)
    if has_model(client, model):
        description = client.get_registered_model(model).description
        client.delete_registered_model(model)
    client.create_registered_model(model, tags, description)


def _register(
    client: MlflowClient,
    model: str,
    lost: list[int],
    models: dict[int, _Model],
    evidence: dict[int, dict[str, Any]],
) -> set[int]:
    """Register what is lost in the order of the numbers; returns those that got their own.

    A placeholder holds the number of one that stays lost until the others are registered.
    """
    registered: set[int] = set()
    at_hand = next(iter(models.values()))
    number = max(map(int, versions_of(client, model)), default=0) + 1
    while number <= max(lost):
        logged = models.get(number)
        tags = {_PLACEHOLDER: "apo reconcile"}
        if logged is not None:
            tags = _tags(evidence[number]) | logged.hashes.tags()
        actual = register_logged(model, (logged or at_hand).address, tags)
        if actual != number:  # MLflow counts deleted versions too
            client.delete_model_version(model, str(actual))
        elif logged is not None:
            registered.add(number)
        number = actual + 1
    return registered


def _delete_placeholders(client: MlflowClient, model: str) -> None:
    for number in _placeholders(client, model):
        client.delete_model_version(model, number)


def _placeholders(client: MlflowClient, model: str) -> list[str]:
    versions = versions_of(client, model) if has_model(client, model) else {}
    return [number for number, version in versions.items() if _PLACEHOLDER in version.tags]


def _outcome(number: int, registered: set[int], models: dict[int, _Model]) -> str:
    if number in registered:
        return "is there again"
    if number in models:
        return "stays lost: MLflow gives the number of a deleted version to no other while the model has some"
    return "stays lost: neither MLflow's runs nor DVC have its policy"


def _tags(evidence: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in evidence.items() if isinstance(value, str)}


def _log_again(
    client: MlflowClient,
    workspace: Workspace,
    experiment: str,
    evidence: dict[str, Any],
    stores: list[CopyStore],
    scratch: Path,
) -> _Model | None:
    """Log the policy that DVC keeps of a version; None where it has none."""
    policy = scratch / "policy"
    if not take_policy(evidence[POLICY_TAG], stores, policy):
        return None
    run = _run(client, evidence["run_id"])
    if run is not None and run.info.lifecycle_stage == "active":
        run_id = str(run.info.run_id)
    else:
        run_id = _new_run(client, workspace, experiment, evidence)
    address = log_policy(policy, run_id)
    client.set_terminated(run_id, "FINISHED")
    hashes = read_hashes(address)
    hashes.check({POLICY_TAG: evidence[POLICY_TAG]}, address)
    return _Model(address, hashes)


def _run(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _whole_model(client: MlflowClient, run_ids: list[str], evidence: dict[str, Any]) -> _Model | None:
    """The newest model of these runs whose files are what was proposed; None where there is none."""
    runs = [run for run in (_run(client, run_id) for run_id in run_ids) if run is not None and run.outputs]
    for output in reversed([output for run in runs for output in run.outputs.model_outputs]):
        address = f"models:/{output.model_id}"
        try:
            hashes = read_hashes(address)
            hashes.check(evidence, address)
        except DamagedModel:
            continue
        return _Model(address, hashes)
    return None


def _new_run(client: MlflowClient, workspace: Workspace, experiment: str, evidence: dict[str, Any]) -> str:
    """Replace a run that is gone by a new one, with what is left of its artifacts."""
    experiment_id = experiment_of(client, workspace, experiment)
    run_id = str(client.create_run(experiment_id, tags=_tags(evidence)).info.run_id)
    artifacts = artifact_location(workspace)
    left = None if artifacts is None else workspace.state / "mlartifacts" / evidence["run_id"] / "artifacts"
    if left is not None and left.exists():
        client.log_artifacts(run_id, str(left))
    return run_id
