"""The pipeline flow: every stage as a task, then the registry, then the summary."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run

from apo_core.config import Params
from apo_core.config.file import load_params, set_params
from apo_core.decisions.person import problem_of, spelling
from apo_core.errors import ApoError
from apo_core.system.environment import prepare_command
from flows.checkout import workspace_at
from flows.dead_run import close_dead_runs, note_run
from flows.outcome import notify_failure, notify_outcome, request_approval
from tasks.at_work import at_rest
from tasks.decisions.log import DecisionLog, open_log
from tasks.decisions.promote import promote
from tasks.decisions.rebuild import refuse_lost_registry
from tasks.dvc.remote import has_remote as has_dvc_remote
from tasks.dvc.state import pending
from tasks.git import author_of, commit_of
from tasks.integrity.run_artifacts import hash_tags
from tasks.lock import only_run
from tasks.notify import check_secret
from tasks.prefect_tasks import fetch_task, push_task, restore_task, retried_task, stage_task
from tasks.prompts.mirrors import has_remote
from tasks.reporting.summary import (
    Report,
    Summary,
    complete_summary,
    finished_summary,
    log_summary,
    refresh_summary,
)
from tasks.tracking.runs import DEPLOYMENT_TAG, PAGE_TAG, finish_run, log_evidence, start_run
from tasks.tracking.store import await_server, check_schema, check_server, follow_workspace
from tasks.workspace import STAGES, Workspace, check_room, check_stages

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _run_name() -> str:
    """The workspace's directory and the time: they tell runs on a page apart."""
    parameters = flow_run.parameters
    workspace = workspace_at(parameters.get("workspace", "."), parameters.get("checkout"))
    return f"{workspace.root.name} {time.strftime('%Y-%m-%d %H:%M:%S')}"


@flow(
    name="pipeline",
    flow_run_name=_run_name,
    validate_parameters=False,
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
)
def pipeline(
    workspace: str = ".",
    overrides: tuple[str, ...] = (),
    force: tuple[str, ...] = (),
    started_by: str | None = None,
    restore: bool = False,
    checkout: str | None = None,
) -> Summary:
    """Bring a workspace up to date and its policy to the registry.

    Args:
        workspace: directory with `params.yaml` and `dvc.yaml`.
        overrides: `key=value`, written to `params.yaml` first.
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
    target = workspace_at(workspace, checkout)
    if target.params.exists():
        with suppress(OSError):  # a disk that refuses is said below
            note_run(target, str(flow_run.id))  # first: who is killed before that stays "Running" at Prefect
    load_params(target.params)  # refuses a directory that is no workspace, before a lock is left in it
    check_stages(force)
    check_room(target)
    check_secret()
    with only_run(target):
        close_dead_runs(target, flow_run.id)
        params = set_params(target.params, overrides)
        if restore:
            restore_task(params.pipeline)(target, params.tracking.model)
        if has_remote(params.data):  # first: what has changed there decides which stages are to run
            fetch_task(params.pipeline)(target, params.data)
        if started_by is None and restore:
            started_by = author_of(target.root)
        return _run_pipeline(target, params, force, _person(params, started_by))


def _person(params: Params, started_by: str | None) -> str:
    """Who counts as having started the run.

    Raises:
        ApoError: four eyes are required, and nobody is named; or the name is one that decisions refuse.
    """
    if started_by is None and params.promotion.four_eyes:
        raise ApoError("promotion.four_eyes: a run names who starts it: apo run --by NAME")
    person = spelling(getpass.getuser() if started_by is None else started_by)
    problem = problem_of(person)
    if problem:
        raise ApoError(f"who starts the run: {problem}; name a person: apo run --by NAME")
    return person


def _run_pipeline(workspace: Workspace, params: Params, force: tuple[str, ...], started_by: str) -> Summary:
    check_server(workspace)
    check_schema(workspace)
    follow_workspace(workspace)
    log = open_log(workspace, params.tracking.model)
    # A log or a registry that is damaged, lost or out of reach is refused before a training, not after it.
    refuse_lost_registry(log)
    changed = [stage for stage in STAGES if stage in {*pending(workspace.root), *force}]
    unchanged = None if changed else _unchanged_summary(log, workspace)
    if unchanged is not None:
        _run_stages(workspace, params, (), None)  # each is compared with its record
        get_run_logger().info("nothing changed")
        unchanged.write(workspace.summary)
        finish_run(log.client, unchanged.run_id)
        request_approval(log.client, unchanged)
        return unchanged
    with _tracked_run(log.client, workspace, params, changed, started_by) as run_id:
        _run_stages(workspace, params, force, run_id)
        if has_dvc_remote(workspace):  # before there is a version: a registered version can be restored
            push_task(params.pipeline)(workspace)
        register = retried_task(_register, "register", params.pipeline)
        summary: Summary = register(log, workspace, params, run_id, started_by)
    notify_outcome(log.client, summary, run_id)
    return summary


def _unchanged_summary(log: DecisionLog, workspace: Workspace) -> Summary | None:
    """The summary of the last run, up to date, if it still holds."""
    summary = finished_summary(workspace)
    if summary is None:
        return None
    refreshed, holds = refresh_summary(log, summary)
    return refreshed if holds else None


def _run_stages(workspace: Workspace, params: Params, force: tuple[str, ...], run_id: str | None) -> None:
    for stage in STAGES:
        stage_task(stage, params.pipeline)(workspace, stage, force=stage in force, run_id=run_id)


def _register(
    log: DecisionLog, workspace: Workspace, params: Params, run_id: str, started_by: str
) -> Summary:
    """Decide on the promotion, register the policy, and write the summary."""
    await_server(workspace)
    client = log.client
    lineage = Report.read(workspace.report).lineage
    tags = {name: str(value) for name, value in lineage} | hash_tags(workspace)
    for name, value in tags.items():
        client.set_tag(run_id, name, value)
    log_evidence(client, run_id, workspace)  # first: a version that is registered has its evidence
    decision, registered = promote(
        log,
        workspace,
        params,
        run_id=run_id,
        started_by=started_by,
        tags=tags,
        say=get_run_logger().info,
    )
    await_server(workspace)
    summary = complete_summary(log, workspace, decision=decision, registered=registered, run_id=run_id)
    client.set_tag(run_id, "decision", decision.outcome)
    log_summary(client, run_id, summary)
    summary.write(workspace.summary)  # with it the run counts as done
    version = "no version" if registered is None else f"version {registered.version} {registered.aliases}"
    with at_rest():
        create_markdown_artifact(
            f"**{decision.outcome}**: {decision.reason}\n\n{params.tracking.model}: {version}", key="register"
        )
    return summary


@contextmanager
def _tracked_run(
    client: MlflowClient, workspace: Workspace, params: Params, changed: list[str], started_by: str
) -> Iterator[str]:
    """Open an MLflow run that ends as the block does; yields its id."""
    from mlflow.exceptions import MlflowException

    tags = {
        "changed": ", ".join(changed) or "nothing",
        "git_commit": str(commit_of(workspace.root)),
        "started_by": started_by,
    }
    if deployment.id is not None:
        tags[DEPLOYMENT_TAG] = str(deployment.id)
        if flow_run.ui_url is not None:
            tags[PAGE_TAG] = flow_run.ui_url
    run_id = start_run(client, workspace, params, tags)
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
            # Why the run failed matters more. The next run closes this one at MLflow.
            get_run_logger().warning("MLflow run %s stays open: %s", run_id, error)
