"""Forms: suspended runs of the `approve` flow, opened once for a candidate and closed when it is decided."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled
from prefect.utilities.urls import url_for

FLOW = "approve"


def open_form(model: str, version: str) -> str | None:
    """Start the `approve` deployment of a model for a waiting candidate, once; None without a deployment.

    Returns:
        The run's page.
    """
    key = f"approve {model} {version}"
    while True:
        try:
            run = run_deployment(
                f"{FLOW}/{model}",
                parameters={"model": model, "version": version},
                timeout=0,
                as_subflow=False,  # a subflow cannot be suspended
                idempotency_key=key,
            )
        except ObjectNotFound:
            return None
        if run.state is None or not run.state.is_final():
            return url_for("flow-run", obj_id=run.id) or str(run.id)
        key = f"{key} after {run.id}"  # a new key: that run died with its server or worker


def close_forms(model: str, *, keep: str | None) -> list[str]:
    """Cancel the suspended runs that ask about versions of a model, except one version; a line for each."""
    closed = []
    with get_client(sync_client=True) as client:
        suspended: list[FlowRun] = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[model])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
            ),
        )
        for run in suspended:
            if run.parameters.get("version") != keep:
                state = Cancelled(message="decided elsewhere, or out of time")
                client.set_flow_run_state(run.id, state, force=True)
                closed.append(f"{run.name}: the form is closed")
    return closed
