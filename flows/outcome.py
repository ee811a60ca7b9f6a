"""After a pipeline run: send its outcome, and ask for the approval that its candidate waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httpx import HTTPError
from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from apo_core.config.file import load_params
from apo_core.errors import ApoError
from flows.alerts import describe_failure, mark_as_notified
from flows.checkout import workspace_at
from flows.forms import open_form
from tasks.notify import notify
from tasks.reporting.summary import Summary
from tasks.tracking.registry import registry_errors
from tasks.tracking.runs import run_page

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTIFIED_TAG = "approval_notified"  # of a version: the time of the entry whose message has arrived


def notify_outcome(client: MlflowClient, summary: Summary, run_id: str) -> None:
    """Send the outcome, and ask for the approval that the version waits for. Nothing here fails a run."""
    links = _known({"run": flow_run.ui_url, "tracking": run_page(client, run_id)})
    text = f"{summary.decision.outcome}: {summary.decision.reason}"
    notify("outcome", summary.model.name, text, links, get_run_logger().warning)
    request_approval(client, summary)


def request_approval(client: MlflowClient, summary: Summary) -> None:
    """Open the form for a candidate that waits, and send the message, each once. Nothing here fails a run.

    A message that did not arrive is sent again by the next run, even if nothing has changed.
    """
    if summary.approval is None or not summary.approval.waits or summary.model.version is None:
        return
    log, model, version = get_run_logger(), summary.model.name, summary.model.version
    form = _open_form(model, version)
    command = f"apo approve {model} {version} --by NAME --reason WHY"
    log.info("version %s waits for approval: %s", version, form or command)
    text = f"version {version} waits: {summary.decision.reason}; {command}"
    try:
        with registry_errors():
            _notify_approvers(client, model, version, summary.approval.time, text, form)
    except ApoError as error:
        log.warning("approval wanted: %s", error)


def _notify_approvers(
    client: MlflowClient, model: str, version: str, candidate_since: str, text: str, form: str | None
) -> None:
    """Send the message, unless one has arrived for this candidate; a version may be a candidate again."""
    registered = client.get_model_version(model, version)
    if registered.tags.get(_NOTIFIED_TAG) == candidate_since:
        return
    links = _known({"run": flow_run.ui_url, "tracking": run_page(client, registered.run_id), "form": form})
    if notify("approval wanted", model, text, links, get_run_logger().warning):
        client.set_model_version_tag(model, version, _NOTIFIED_TAG, candidate_since)


def _known(links: dict[str, str | None]) -> dict[str, str]:
    return {name: link for name, link in links.items() if link is not None}


def _open_form(model: str, version: str) -> str | None:
    """Open the form and return its page; None if there is no deployment of it, or no server answers."""
    try:
        return open_form(model, version)
    except (PrefectException, HTTPError, OSError) as error:
        get_run_logger().warning("the form could not be opened: %s", error)
        return None


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the failure of a pipeline run: Prefect's hook for a run that has failed or crashed.

    The worker calls it for a run whose process was killed, and passes these arguments by name.
    """
    parameters = flow_run.parameters
    workspace = workspace_at(parameters.get("workspace", "."), parameters.get("checkout"))
    try:
        model = load_params(workspace.params).tracking.model
    except ApoError:  # which may be why the run failed
        model = workspace.root.name
    links = _known({"run": url_for("flow-run", obj_id=flow_run.id)})
    text = describe_failure(flow_run, state)
    if notify("failure", model, text, links, get_logger().warning) and flow_run.deployment_id is not None:
        mark_as_notified(flow_run)  # else the triggers of `prefect.yaml` have it sent again
