"""MLflow tracking: one run per pipeline run, with its parameters, tags, artifacts and live step metrics."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from apo_core.config import Params
from apo_core.errors import ApoError
from apo_core.training.metrics import StepMetrics, read_metrics
from tasks.tracking.store import artifact_location, is_remote, without_password
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


_BATCH = 1000  # MLflow's limit of metrics per request
_NOT_METRICS = ("step", "time")
NOT_IN_NAMES = r"[^\w. -]"  # what MLflow refuses in a metric's name
_WORKSPACE_TAG, _MODEL_TAG = "workspace", "model"
DEPLOYMENT_TAG = "deployment"  # Prefect's number of it
PAGE_TAG = "pipeline_run"  # the address of a deployment's run on Prefect's page


def start_run(client: MlflowClient, workspace: Workspace, params: Params, tags: dict[str, str]) -> str:
    """Open a run with all parameters and return its id.

    The caller holds the lock of the workspace, so a run of the workspace that still counts as running was
    killed, and is closed here. So is a run of the same deployment, wherever its workspace was: a deployment
    has one run at a time.
    """
    from mlflow.entities import Param

    experiment = experiment_of(client, workspace, params.tracking.experiment)
    own_tags = {
        _WORKSPACE_TAG: f"{socket.gethostname()}:{workspace.root.resolve()}",
        _MODEL_TAG: params.tracking.model,
    }
    mine = {(tag, (tags | own_tags).get(tag, "")) for tag in (_WORKSPACE_TAG, DEPLOYMENT_TAG)}
    for running in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        if mine & running.data.tags.items():
            client.set_terminated(running.info.run_id, "KILLED")
    name = f"{params.tracking.model} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run = client.create_run(experiment, tags=tags | own_tags, run_name=name)
    # As they are written: keys that `vllm_override` leaves out have no value of their own.
    flat = flatten(params.model_dump(mode="json", exclude_unset=True))
    client.log_batch(run.info.run_id, params=[Param(key, text) for key, text in flat.items()])
    return str(run.info.run_id)


def finish_run(client: MlflowClient, run_id: str) -> None:
    """Close a run that has finished its work, but was killed, or MLflow away, before it was closed."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # removed, or on another server
            return
        raise
    if run.status == "RUNNING" and run.lifecycle_stage == "active":
        client.set_terminated(run_id, "FINISHED")


def run_page(client: MlflowClient, run_id: str) -> str | None:
    """The address of a run's page; None if no server shows it."""
    from mlflow.exceptions import MlflowException

    server = _pages(client)
    if server is None:
        return None
    try:
        experiment = client.get_run(run_id).info.experiment_id
    except MlflowException:  # a link is no reason to fail
        return server
    return f"{server}/#/experiments/{experiment}/runs/{run_id}"


def version_page(client: MlflowClient, model: str, version: str) -> str | None:
    """The address of a registered version's page; None if no server shows it."""
    server = _pages(client)
    return server and f"{server}/#/models/{quote(model, safe='')}/versions/{version}"


def _pages(client: MlflowClient) -> str | None:
    uri = str(client.tracking_uri)
    return without_password(uri) if is_remote(uri) else None


def last_finished_run(client: MlflowClient, model: str) -> str | None:
    """The id of the last run of a model's pipeline that has finished, or None."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"attributes.status = 'FINISHED' and tags.{_MODEL_TAG} = '{model}'"
    runs = client.search_runs(experiments, query, max_results=1, order_by=["attributes.end_time DESC"])
    return str(runs[0].info.run_id) if runs else None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `section.key` to text."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat


def experiment_of(client: MlflowClient, workspace: Workspace, name: str) -> str:
    """The id of an experiment, which is made if there is none of that name."""
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            raise ApoError(f"MLflow experiment {name!r} is deleted; restore it or change tracking.experiment")
        return str(experiment.experiment_id)
    artifacts = artifact_location(workspace)
    # Else MLflow's page opens on its view for agents, which is empty for a training.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(name, artifact_location=artifacts, tags=kind))


def log_steps(client: MlflowClient, run_id: str, rows: list[StepMetrics]) -> None:
    """Send lines of `metrics.jsonl`; a step that is sent with two times becomes two points at MLflow."""
    from mlflow.entities import Metric

    points = [
        Metric(name, value, int(row["time"] * 1000), int(row["step"]))
        for row in rows
        for name, value in row.items()
        if name not in _NOT_METRICS
    ]
    for start in range(0, len(points), _BATCH):
        client.log_batch(run_id, metrics=points[start : start + _BATCH])


def _steps_of(client: MlflowClient, run_id: str) -> set[float]:
    """The training steps that a run has at MLflow."""
    return {float(point.step) for point in client.get_metric_history(run_id, "loss")}


@contextmanager
def stream_metrics(
    client: MlflowClient, run_id: str, file: Path, warn: Callable[[str], None], *, every: float = 2.0
) -> Iterator[None]:
    """Send the steps of a training as they are written, until the block ends, except steps that the run has.

    Only steps written from now on are sent: the file may still hold the steps of an earlier training, which
    the new training removes. `log_evidence` sends what is missing once the training has finished.
    """
    from mlflow.exceptions import MlflowException

    ended = threading.Event()
    started = time.time()

    def send_new_steps() -> None:
        sent: set[float] | None = None
        while True:
            last = ended.wait(every)
            rows = [row for row in read_metrics(file) if row["time"] > started]
            try:
                sent = _steps_of(client, run_id) if sent is None else sent
                log_steps(client, run_id, [row for row in rows if row["step"] not in sent])
                sent |= {row["step"] for row in rows}
            except MlflowException as error:  # a training goes on while its tracking server is away
                unsent = len([row for row in rows if row["step"] not in (sent or ())])
                warn(f"MLflow did not take {unsent} steps, they are sent again: {error}")
            if last:
                return

    thread = threading.Thread(target=send_new_steps, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def log_evidence(client: MlflowClient, run_id: str, workspace: Workspace) -> None:
    """Attach all steps of a run, its reports, and the tables that a later decision rests on."""
    sent = _steps_of(client, run_id)
    log_steps(client, run_id, [row for row in read_metrics(workspace.metrics) if row["step"] not in sent])
    for directory in ("reports", "reports/plots", "reports/validation"):
        for file in sorted((workspace.root / directory).glob("*.*")):
            if file != workspace.summary:  # on disk it is still that of the last run
                client.log_artifact(run_id, str(file), directory)
    for file in (workspace.values, workspace.evaluations, workspace.lock, workspace.params):
        client.log_artifact(run_id, str(file), "tables" if file.suffix == ".parquet" else "lineage")
