"""The pipeline flow: every stage as a task, then the registry, then the summary."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run

from apo_core.config import Params
from apo_core.config.file import load_params, set_params
from apo_core.errors import ApoError
from apo_core.system.environment import prepare_command
from apo_core.system.files import read_json, sha256_of, write_json
from flows.checkout import workspace_at
from flows.outcome import ask_approval, tell_failure, tell_outcome
from tasks.decisions.log import DecisionLog, open_log
from tasks.decisions.promote import promote
from tasks.dvc.remote import has_remote as has_dvc_remote
from tasks.dvc.state import pending
from tasks.git import author_of, commit_of
from tasks.lineage.summary import complete_summary, finished_summary, registry_agrees
from tasks.lock import only_run
from tasks.notify import check_settings
from tasks.prefect_tasks import fetch_task, push_task, restore_task, retried_task, stage_task
from tasks.prompts.mirrors import has_remote
from tasks.tracking.runs import (
    DEPLOYMENT_TAG,
    PAGE_TAG,
    finish_run,
    log_evidence,
    log_summary,
    start_run,
)
from tasks.workspace import STAGES, Workspace, check_stages

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _run_name() -> str:
    """The workspace's directory and the time: a page of runs tells them apart."""
    given = flow_run.parameters
    place = workspace_at(given.get("workspace", "."), given.get("checkout"))
    return f"{place.root.name} {time.strftime('%Y-%m-%d %H:%M:%S')}"


@flow(
    name="pipeline",
    flow_run_name=_run_name,
    validate_parameters=False,
    on_failure=[tell_failure],
    on_crashed=[tell_failure],
)
def pipeline(
    workspace: str = ".",
    settings: tuple[str, ...] = (),
    force: tuple[str, ...] = (),
    started_by: str | None = None,
    restore: bool = False,
    checkout: str | None = None,
) -> dict[str, Any]:
    """Bring a workspace up to date and its policy to the registry.

    Args:
        workspace: directory with `params.yaml` and `dvc.yaml`.
        settings: `key=value`, written to `params.yaml` first.
        force: stages to run even if nothing they depend on has changed.
        started_by: the person who wants this run; by default the author of the commit of a restored
            workspace, else the user of this machine. With `promotion.four_eyes` there is no such default.
        restore: in a workspace that has seen no run, begin with what the last run of its model left.
        checkout: the clone that `workspace` lies in, by the name that `flows.checkout` knows it by.

    Returns:
        The summary, as in `reports/summary.json`.

    Raises:
        ApoError: bad configuration or input, or another run at work in the workspace, in one line.
    """
    prepare_command()
    place = workspace_at(workspace, checkout)
    load_params(place.params)  # no lock is left in what is no workspace
    check_stages(force)
    check_settings()
    with only_run(place):
        params = set_params(place.params, settings)
        if restore:
            restore_task(params.pipeline)(place, params.tracking.model)
        if has_remote(params.data):  # first: what has changed there decides which stages are to run
            fetch_task(params.pipeline)(place, params.data)
        if started_by is None and restore:
            started_by = author_of(place.root)
        return _pipeline(place, params, force, _person(params, started_by))


def _person(params: Params, started_by: str | None) -> str:
    if started_by is None and params.promotion.four_eyes:
        raise ApoError("promotion.four_eyes: a run names who starts it: apo run --by NAME")
    return getpass.getuser() if started_by is None else started_by


def _pipeline(place: Workspace, params: Params, force: tuple[str, ...], started_by: str) -> dict[str, Any]:
    log = open_log(place, params.tracking.model)
    log.read()  # a log that is damaged or out of reach is refused before a training, not after it
    client = log.client
    changed = [stage for stage in STAGES if stage in {*pending(place.root), *force}]
    done = finished_summary(place)
    if not changed and done is not None and registry_agrees(log, done):
        get_run_logger().info("nothing changed")
        _run_stages(place, params, (), None)
        write_json(place.summary, done)
        finish_run(client, done.get("run_id"))
        ask_approval(client, done)
        return done
    with _recorded(client, place, params, changed, started_by) as run_id:
        _run_stages(place, params, force, run_id)
        if has_dvc_remote(place):  # before there is a version: what is registered can be restored
            push_task(params.pipeline)(place)
        register = retried_task(_register, "register", params.pipeline)
        summary: dict[str, Any] = register(log, place, params, run_id, started_by)
    tell_outcome(client, summary, run_id)
    return summary


def _run_stages(place: Workspace, params: Params, force: tuple[str, ...], run_id: str | None) -> None:
    for stage in STAGES:
        stage_task(stage, params.pipeline)(place, stage, force=stage in force, run_id=run_id)


def _register(
    log: DecisionLog, place: Workspace, params: Params, run_id: str, started_by: str
) -> dict[str, Any]:
    """Decide, register, and write the summary."""
    client = log.client
    lineage = read_json(place.report)["lineage"] | {"dvc_lock_sha256": sha256_of(place.lock)}
    tags = {name: str(value) for name, value in lineage.items()}
    for name, value in tags.items():
        client.set_tag(run_id, name, value)
    log_evidence(client, run_id, place)  # first: a version that is registered has its evidence
    decision, registered = promote(log, place, params, run_id=run_id, started_by=started_by, tags=tags)
    summary = complete_summary(log, place, decision._asdict(), registered, run_id)
    client.set_tag(run_id, "decision", decision.outcome)
    log_summary(client, run_id, summary)
    version = "no version" if registered is None else f"version {registered.version} {registered.aliases}"
    create_markdown_artifact(
        f"**{decision.outcome}**: {decision.reason}\n\n{params.tracking.model}: {version}", key="register"
    )
    write_json(place.summary, summary)  # last: with it the run counts as done
    return summary


@contextmanager
def _recorded(
    client: MlflowClient, place: Workspace, params: Params, changed: list[str], started_by: str
) -> Iterator[str]:
    """An MLflow run that ends as this block does."""
    from mlflow.exceptions import MlflowException

    tags = {
        "changed": ", ".join(changed) or "nothing",
        "git_commit": str(commit_of(place.root)),
        "started_by": started_by,
    }
    if deployment.id is not None:
        tags[DEPLOYMENT_TAG] = str(deployment.id)
        if flow_run.ui_url is not None:
            tags[PAGE_TAG] = flow_run.ui_url
    run_id = start_run(client, place, params, tags)
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    finally:
        try:
            client.set_terminated(run_id, status)
        except MlflowException as error:
            if status == "FINISHED":
                raise
            # Why the run failed matters more; the next one closes this one at MLflow.
            get_run_logger().warning("MLflow run %s stays open: %s", run_id, error)
