"""Make a lost registry again, from the log of decisions, MLflow's runs and the copies that DVC keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_core.decisions.approval_rule import state_of
from apo_core.errors import ApoError
from tasks.decisions.log import DecisionLog
from tasks.integrity.copies import CopyStore, opened, take_policy
from tasks.tracking.model_files import POLICY_TAG
from tasks.tracking.registry import (
    has_model,
    log_policy,
    register_logged,
    registry_errors,
    versions_of,
)
from tasks.tracking.runs import experiment_of
from tasks.tracking.store import artifact_location
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PLACEHOLDER = "placeholder"  # a tag of versions that only hold a number


def lost_versions(log: DecisionLog) -> list[int]:
    """The versions that the log names and the registry is too young to have had: it was lost, or is older.

    A version that was deleted while the registry had later ones is not among them.

    Raises:
        ApoError: the registry has another policy under the number of a version that the log names.
    """
    logged = state_of(log.read()).candidates
    with registry_errors():
        versions = versions_of(log.client, log.model) if has_model(log.client, log.model) else {}
    own = {number: version.tags for number, version in versions.items() if _PLACEHOLDER not in version.tags}
    for number, tags in own.items():
        recorded = logged[number].evidence.get(POLICY_TAG) if number in logged else None
        if recorded not in (None, tags.get(POLICY_TAG)):
            raise ApoError(
                f"{log.model}: version {number} of the registry is another policy than the log's: delete it "
                f"on MLflow's page, then `apo reconcile {log.model}`; nothing else uses it"
            )
    highest = max(map(int, own), default=0)
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


def rebuild(log: DecisionLog, workspace: Workspace, experiment: str) -> list[str]:
    """Register lost versions again, under their numbers; the aliases are set afterwards.

    A version is taken from the MLflow run that logged it; if that is gone too, its policy comes from DVC's
    cache or remote, and what is left of its run's artifacts is attached to a new run. One that is killed is
    completed by the next.

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
        return []
    candidates, client = state_of(log.read()).candidates, log.client
    evidence = {number: candidates[str(number)].evidence for number in lost}
    with (
        registry_errors(),
        opened(workspace, "cache") as cache,
        opened(workspace, "remote") as remote,
        tempfile.TemporaryDirectory(dir=workspace.state) as scratch,
    ):
        stores = [store for store in (cache, remote) if store is not None]
        logged = {
            number: _logged_model(client, workspace, experiment, facts, stores, Path(scratch) / str(number))
            for number, facts in evidence.items()
        }
        at_hand = next((model for model in logged.values() if model is not None), None)
        if at_hand is None:
            raise ApoError(f"{log.model}: neither MLflow's runs nor DVC have the policy of a lost version")
        if not has_model(client, log.model):
            client.create_registered_model(log.model)
        _delete_placeholders(client, log.model)
        # MLflow counts: a placeholder holds the number of one that stays lost until the others are there.
        first = max(map(int, versions_of(client, log.model)), default=0) + 1
        for number in range(first, max(lost) + 1):
            model = logged.get(number)
            tags = {_PLACEHOLDER: "apo reconcile"} if model is None else _tags(evidence[number])
            register_logged(log.model, model or at_hand, tags)
        _delete_placeholders(client, log.model)
    outcomes = {number: "is there again" if logged[number] else "stays lost" for number in lost}
    return [f"{log.model}: version {number} {outcome}" for number, outcome in outcomes.items()]


def _delete_placeholders(client: MlflowClient, model: str) -> None:
    for number, version in versions_of(client, model).items():
        if _PLACEHOLDER in version.tags:
            client.delete_model_version(model, number)


def _tags(evidence: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in evidence.items() if isinstance(value, str)}


def _logged_model(
    client: MlflowClient,
    workspace: Workspace,
    experiment: str,
    evidence: dict[str, Any],
    stores: list[CopyStore],
    scratch: Path,
) -> str | None:
    """The address of a version's model at MLflow, logged again if need be; None where it is lost."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(evidence["run_id"])
        models = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
        if models:
            return f"models:/{models[-1]}"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    policy = scratch / "policy"
    if not take_policy(evidence[POLICY_TAG], stores, policy):
        return None
    run_id = client.create_run(experiment_of(client, workspace, experiment), tags=_tags(evidence)).info.run_id
    artifacts = artifact_location(workspace)
    left = None if artifacts is None else workspace.state / "mlartifacts" / evidence["run_id"] / "artifacts"
    if left is not None and left.exists():
        client.log_artifacts(run_id, str(left))
    address = log_policy(policy, run_id)
    client.set_terminated(run_id, "FINISHED")
    return address
