"""Prefect tasks of a pipeline run: each stage, named and retried, and the transfers around the stages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import deployment, task_run
from prefect.tasks import exponential_backoff

from apo_core.config import Data, Pipeline
from apo_core.errors import StageRefused
from tasks.at_work import at_rest, at_work
from tasks.dvc.remote import push
from tasks.dvc.run import Outcome, run_stage
from tasks.lineage.restore import restore_last
from tasks.prompts.mirrors import fetch_mirrors
from tasks.reporting.prefect_artifacts import stage_artifact
from tasks.tracking.runs import stream_metrics
from tasks.tracking.store import TrackingAway, connect
from tasks.workspace import Workspace

_T = TypeVar("_T")


def stage_task(name: str, pipeline: Pipeline) -> Task[..., Outcome]:
    """The task of a stage: retried with growing delays unless it refused its input, ended by a timeout."""
    return retried_task(_run, name, pipeline)


def fetch_task(pipeline: Pipeline) -> Task[..., None]:
    """The task that mirrors remote prompts before any stage, retried as stages are."""
    return retried_task(_fetch, "fetch-prompts", pipeline)


def restore_task(pipeline: Pipeline) -> Task[..., None]:
    """The task that restores what the last run left, in a workspace that has seen no run."""
    return retried_task(_restore, "restore", pipeline)


def push_task(pipeline: Pipeline) -> Task[..., None]:
    """The task that pushes outputs to DVC's remote."""
    return retried_task(_push, "push", pipeline)


def retried_task(function: Callable[..., _T], name: str, pipeline: Pipeline) -> Task[..., _T]:
    """A task that is retried as stages are."""

    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> _T:
        with at_work():
            return function(*args, **kwargs)

    return task(
        noted,
        name=name,
        task_run_name=name,
        retries=pipeline.retries,
        retry_delay_seconds=exponential_backoff(pipeline.retry_delay_seconds),
        retry_condition_fn=_may_help,
        timeout_seconds=pipeline.stage_timeout_hours * 3600,
        # DVC decides what is up to date; a second cache could only disagree.
        persist_result=False,
    )


def _restore(workspace: Workspace, model: str) -> None:
    restore_last(connect(workspace), workspace, model, get_run_logger().info)


def _push(workspace: Workspace) -> None:
    push(workspace, get_run_logger().info)


def _fetch(workspace: Workspace, data: Data) -> None:
    fetch_mirrors(workspace.raw_prompts, data, get_run_logger().info)


def _run(workspace: Workspace, stage: str, *, force: bool = False, run_id: str | None = None) -> Outcome:
    """Bring a stage up to date; a training's metrics are streamed to the MLflow run."""
    log = get_run_logger()
    with ExitStack() as stack:
        if stage == "train" and run_id is not None:
            live = workspace.work("train") / "metrics.jsonl"
            stack.enter_context(stream_metrics(connect(workspace), run_id, live, log.warning))
        # A retry continues from what the attempt before it finished.
        fresh = force and task_run.run_count == 1
        outcome = run_stage(workspace.root, stage, log.info, force=force, fresh=fresh)
    log.info("%s: %s", stage, outcome)
    if outcome != "unchanged":
        with at_rest():
            create_markdown_artifact(
                stage_artifact(workspace, stage), key=stage, description=f"stage {stage}"
            )
    return outcome


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether another attempt may help: not where the input was refused.

    Nobody looks on while a deployment's run waits for MLflow, so that it waits for longer.
    """
    if isinstance(state.data, TrackingAway):
        return deployment.id is not None
    return not isinstance(state.data, StageRefused)
