"""Each pipeline stage as a named, retryable Prefect task over DVC."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.tasks import exponential_backoff

from apo_core.config import Data, Pipeline
from apo_core.errors import StageRefused
from tasks.dvc.remote import push
from tasks.dvc.run import Outcome, run_stage
from tasks.lineage.restore import restore_last
from tasks.prompts.mirrors import fetch_mirrors
from tasks.reporting.artifacts import stage_artifact
from tasks.tracking.runs import connect, stream_metrics
from tasks.workspace import Workspace

_T = TypeVar("_T")


def stage_task(name: str, settings: Pipeline) -> Task[..., Outcome]:
    """The task of a stage: retried with growing delays unless it refused its input, ended by a timeout."""
    return retried_task(_run, name, settings)


def fetch_task(settings: Pipeline) -> Task[..., None]:
    """The task that mirrors remote prompts before any stage, retried as stages are."""
    return retried_task(_fetch, "fetch-prompts", settings)


def restore_task(settings: Pipeline) -> Task[..., None]:
    """The task that begins with what the last run left, in a workspace that has seen none."""
    return retried_task(_restore, "restore", settings)


def push_task(settings: Pipeline) -> Task[..., None]:
    """The task that sends what was made to DVC's remote."""
    return retried_task(_push, "push", settings)


def retried_task(function: Callable[..., _T], name: str, settings: Pipeline) -> Task[..., _T]:
    """Any work of a pipeline run as a task that is retried as stages are."""
    return task(
        function,
        name=name,
        task_run_name=name,
        retries=settings.retries,
        retry_delay_seconds=exponential_backoff(settings.retry_delay_seconds),
        retry_condition_fn=_may_help,
        timeout_seconds=settings.stage_timeout_hours * 3600,
        # DVC decides what is up to date; a second cache would only be able to disagree.
        persist_result=False,
    )


def _restore(workspace: Workspace, model: str) -> None:
    restore_last(connect(workspace), workspace, model, get_run_logger().info)


def _push(workspace: Workspace) -> None:
    push(workspace, get_run_logger().info)


def _fetch(workspace: Workspace, data: Data) -> None:
    fetch_mirrors(workspace.raw_prompts, data, get_run_logger().info)


def _run(workspace: Workspace, stage: str, *, force: bool = False, run_id: str | None = None) -> Outcome:
    """Bring a stage up to date; a training's steps go to the MLflow run as they are made."""
    log = get_run_logger()
    with ExitStack() as stack:
        if stage == "train" and run_id is not None:
            live = workspace.work("train") / "metrics.jsonl"
            stack.enter_context(stream_metrics(connect(workspace), run_id, live, log.warning))
        # A retry goes on with what the attempt before it finished.
        fresh = force and task_run.run_count == 1
        outcome = run_stage(workspace.root, stage, log.info, force=force, fresh=fresh)
    log.info("%s: %s", stage, outcome)
    if outcome != "unchanged":
        create_markdown_artifact(stage_artifact(workspace, stage), key=stage, description=f"stage {stage}")
    return outcome


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether running again can change anything: not for an input that was refused."""
    return not isinstance(state.data, StageRefused)
