"""After a pipeline run: who is to decide is asked, and who wants to know is told."""

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
from flows.alerts import failure_of, mark_told
from flows.checkout import workspace_at
from flows.forms import open_form
from tasks.lineage.summary import waits
from tasks.notify import notify
from tasks.tracking.registry import registry_errors
from tasks.tracking.runs import run_page

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TOLD = "approval_told"  # tag of a version: since when it is a candidate of which somebody has been told


def tell_outcome(client: MlflowClient, summary: dict[str, Any], run_id: str) -> None:
    """Send the outcome, and ask for the approval that it waits for. Nothing here fails a run."""
    log, model, decision = get_run_logger(), summary["model"], summary["decision"]
    links = {"run": flow_run.ui_url, "tracking": run_page(client, run_id)}
    shown = {name: link for name, link in links.items() if link is not None}
    text = f"{decision['outcome']}: {decision['reason']}"
    notify("outcome", model["name"], text, shown, log.warning)
    ask_approval(client, summary)


def ask_approval(client: MlflowClient, summary: dict[str, Any]) -> None:
    """Open the form for a candidate that waits, and send the message, each once. Nothing here fails a run.

    What has not arrived, an unchanged run sends again.
    """
    if not waits(summary):
        return
    log, model = get_run_logger(), summary["model"]
    form = _open_form(model["name"], model["version"])
    command = f"apo approve {model['name']} {model['version']} --by NAME --reason WHY"
    log.info("version %s waits for approval: %s", model["version"], form or command)
    text = f"version {model['version']} waits: {summary['decision']['reason']}; {command}"
    try:
        with registry_errors():
            _tell_approval(client, summary, text, form)
    except ApoError as error:
        log.warning("approval wanted: %s", error)


def _tell_approval(client: MlflowClient, summary: dict[str, Any], text: str, form: str | None) -> None:
    name, version = summary["model"]["name"], summary["model"]["version"]
    candidacy = summary["approval"]["time"]  # a version may be a candidate again
    found = client.get_model_version(name, version)
    if found.tags.get(_TOLD) == candidacy:
        return
    links = {"run": flow_run.ui_url, "tracking": run_page(client, found.run_id), "form": form}
    shown = {title: link for title, link in links.items() if link is not None}
    if notify("approval wanted", name, text, shown, get_run_logger().warning):
        client.set_model_version_tag(name, version, _TOLD, candidacy)


def _open_form(name: str, version: str) -> str | None:
    """Its page; None where there is none, or no server answers."""
    try:
        return open_form(name, version)
    except (PrefectException, HTTPError, OSError) as error:
        get_run_logger().warning("the form could not be opened: %s", error)
        return None


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """What Prefect calls when a pipeline run has failed or crashed; a worker does so by these names."""
    given = flow_run.parameters
    place = workspace_at(given.get("workspace", "."), given.get("checkout"))
    try:
        model = load_params(place.params).tracking.model
    except ApoError:  # which may be why it failed
        model = place.root.name
    page = url_for("flow-run", obj_id=flow_run.id)
    links = {} if page is None else {"run": page}
    text = failure_of(flow_run, state)
    if notify("failure", model, text, links, get_logger().warning) and flow_run.deployment_id is not None:
        mark_told(flow_run)  # or the trigger of `prefect.yaml` tells of it again
