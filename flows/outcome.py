"""After a pipeline run: who is to decide is asked, and who wants to know is told."""

from __future__ import annotations

from typing import Any

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from apo_core.config.file import load_params
from flows.approval import ask_for_approval
from tasks.notify import notify
from tasks.tracking import run_page
from tasks.workspace import Workspace


def tell_outcome(summary: dict[str, Any], run_id: str) -> None:
    """Open the form for a candidate that waits, and send the messages."""
    log, model, decision = get_run_logger(), summary["model"], summary["decision"]
    links = {"run": flow_run.ui_url, "tracking": run_page(run_id)}
    shown = {name: link for name, link in links.items() if link is not None}
    text = f"{decision['outcome']}: {decision['reason']}"
    notify("outcome", model["name"], text, shown, log.warning)
    if waits(summary):
        form = ask(summary)
        command = f"apo approve {model['name']} {model['version']} --by NAME --reason WHY"
        log.info("version %s waits for approval: %s", model["version"], form or command)
        if form:
            shown["form"] = form
        text = f"version {model['version']} waits: {decision['reason']}; {command}"
        notify("approval wanted", model["name"], text, shown, log.warning)


def ask(summary: dict[str, Any]) -> str | None:
    """Open the form for a candidate that waits, once; its page, or None where no form is deployed."""
    return ask_for_approval(summary["model"]["name"], summary["model"]["version"])


def waits(summary: dict[str, Any]) -> bool:
    """Whether the version waits for a person."""
    approval = summary["approval"]
    return approval is not None and approval["event"] == "candidate"


def tell_failure(_flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """What Prefect calls when a pipeline run has failed or crashed."""
    place = Workspace.at(run.parameters.get("workspace", "."))
    model = load_params(place.params).tracking.model
    page = url_for("flow-run", obj_id=run.id)
    links = {} if page is None else {"run": page}
    notify("failure", model, f"{run.name}: {state.name}: {state.message}", links, get_logger().warning)
