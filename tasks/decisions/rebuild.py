"""Make a lost registry again, from the log of decisions, MLflow's runs and the copies that DVC keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_core.decisions.approval_rule import state_of
from apo_core.errors import ApoError
from tasks.decisions.log import DecisionLog, read_log
from tasks.integrity.copies import CopyStore, opened, take_policy
from tasks.tracking.registry import POLICY_TAG, has_model, log_policy, register_logged, registry_errors
from tasks.tracking.runs import experiment_of
from tasks.tracking.store import artifact_location
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


def refuse_lost_registry(log: DecisionLog) -> None:
    """Refuse where the log knows decisions on a model that the registry does not have.

    Raises:
        ApoError: says what to do. A training would end where its policy cannot be registered.
    """
    if log.read() and not has_model(log.client, log.model):
        raise ApoError(
            f"{log.model}: the registry has no such model, and the log has decisions on it: was the registry "
            f"lost, or is this another one? `apo reconcile {log.model}` makes it again"
        )


def rebuild(log: DecisionLog, workspace: Workspace, experiment: str) -> list[str]:
    """Register the versions that the log names again, under their numbers; the aliases are set afterwards.

    A version is taken from the MLflow run that logged it; if that is gone too, its policy comes from DVC's
    cache or remote, and what is left of its run's artifacts is attached to a new run.

    Args:
        log: of a model that the registry does not have.
        workspace: whose copies are looked through.
        experiment: for new runs, `tracking.experiment`.

    Returns:
        A line per version.

    Raises:
        ApoError: no policy of any version is left.
    """
    candidates = state_of(read_log(log.store, log.model)).candidates
    evidence = {int(number): entry.evidence for number, entry in candidates.items()}
    client = log.client
    with (
        registry_errors(),
        opened(workspace, "cache") as cache,
        opened(workspace, "remote") as remote,
        tempfile.TemporaryDirectory(dir=workspace.state) as scratch,
    ):
        stores = [store for store in (cache, remote) if store is not None]
        logged = {
            number: _logged_model(client, workspace, experiment, facts, stores, Path(scratch) / str(number))
            for number, facts in sorted(evidence.items())
        }
        at_hand = next((model for model in logged.values() if model is not None), None)
        if at_hand is None:
            raise ApoError(
                f"{log.model}: neither MLflow's runs nor DVC have the policy of any of its versions"
            )
        client.create_registered_model(log.model)
        lines = []
        # MLflow numbers versions from 1: one that cannot be made again holds its number, and is deleted.
        for number in range(1, max(evidence) + 1):
            model = logged.get(number)
            facts = evidence.get(number, {})
            register_logged(log.model, model or at_hand, _tags(facts))
            lines.append(f"{log.model}: version {number} {'is there again' if model else 'is lost'}")
        for number in range(1, max(evidence) + 1):
            if logged.get(number) is None:
                client.delete_model_version(log.model, str(number))
    return lines


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
