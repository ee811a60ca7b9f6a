"""MLflow tracking: one run a pipeline run, its parameters, tags, artifacts and live step metrics."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from apo_core.config import Params
from apo_core.errors import ApoError
from apo_core.system.environment import disable_telemetry
from apo_core.system.files import replacing
from apo_core.system.imports import quick_imports
from apo_core.training.metrics import StepMetrics, read_metrics
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = 1000  # MLflow's limit of metrics a request
_NOT_METRICS = ("step", "time")
_NOT_IN_NAMES = r"[^\w. -]"  # what MLflow refuses in a metric's name
_WORKSPACE_TAG, _MODEL_TAG = "workspace", "model"
DEPLOYMENT_TAG = "deployment"  # Prefect's number of it
PAGE_TAG = "pipeline_run"  # the address of a deployment's run on Prefect's page


def connect(workspace: Workspace) -> MlflowClient:
    """A client of the tracking server in `MLFLOW_TRACKING_URI`, else of the workspace's own sqlite store."""
    disable_telemetry()
    with quick_imports():
        import mlflow

    uri = tracking_uri(workspace)
    if uri == _embedded_uri(workspace) and not _embedded_store(workspace).exists():
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        # MLflow makes its tables step by step, and cannot go on where a kill has ended that.
        with replacing(_embedded_store(workspace)) as temporary:
            mlflow.MlflowClient(f"sqlite:///{temporary.resolve()}").search_experiments()
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def tracking_uri(workspace: Workspace) -> str:
    """Where runs are recorded."""
    return os.environ.get("MLFLOW_TRACKING_URI", _embedded_uri(workspace))


def is_remote(uri: str) -> bool:
    """Whether a tracking URI is a server's."""
    return uri.startswith(("http://", "https://"))


def has_registry(workspace: Workspace) -> bool:
    """Whether there is anything to ask: another store than the workspace's own, or that one is made."""
    return tracking_uri(workspace) != _embedded_uri(workspace) or _embedded_store(workspace).exists()


def _embedded_uri(workspace: Workspace) -> str:
    return f"sqlite:///{_embedded_store(workspace)}"


def _embedded_store(workspace: Workspace) -> Path:
    return workspace.state.resolve() / "mlflow.db"


def start_run(client: MlflowClient, workspace: Workspace, params: Params, tags: dict[str, str]) -> str:
    """Open a run with all parameters and return its id.

    The caller holds the workspace, so a run of it that still counts as running was killed: it is closed. So
    is one of the same deployment, wherever its workspace was: they run one at a time.
    """
    from mlflow.entities import Param

    experiment = _experiment(client, workspace, params.tracking.experiment)
    own = {
        _WORKSPACE_TAG: f"{socket.gethostname()}:{workspace.root.resolve()}",
        _MODEL_TAG: params.tracking.model,
    }
    mine = {(tag, (tags | own).get(tag, "")) for tag in (_WORKSPACE_TAG, DEPLOYMENT_TAG)}
    for running in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        if mine & running.data.tags.items():
            client.set_terminated(running.info.run_id, "KILLED")
    name = f"{params.tracking.model} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run = client.create_run(experiment, tags=tags | own, run_name=name)
    flat = flatten(params.model_dump(mode="json"))
    client.log_batch(run.info.run_id, params=[Param(key, text) for key, text in flat.items()])
    return str(run.info.run_id)


def finish_run(client: MlflowClient, run_id: str | None) -> None:
    """Close a run that has done all it had to, and was killed, or MLflow away, before it could say so."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return
    try:
        found = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # removed, or on another server
            return
        raise
    if found.status == "RUNNING" and found.lifecycle_stage == "active":
        client.set_terminated(run_id, "FINISHED")


def run_page(client: MlflowClient, run_id: str) -> str | None:
    """The address of a run's page; None where no server shows it."""
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
    """The address of a registered version's page; None where no server shows it."""
    server = _pages(client)
    return server and f"{server}/#/models/{quote(model, safe='')}/versions/{version}"


def _pages(client: MlflowClient) -> str | None:
    uri = urlsplit(str(client.tracking_uri))
    if not is_remote(uri.geturl()):
        return None
    return uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl().rstrip("/")  # no password travels


def last_finished_run(client: MlflowClient, model: str) -> str | None:
    """The id of the last run of a model's pipeline that came to its end, or None."""
    experiments = [found.experiment_id for found in client.search_experiments()]
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


def _experiment(client: MlflowClient, workspace: Workspace, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise ApoError(f"MLflow experiment {name!r} is deleted; restore it or change tracking.experiment")
        return str(found.experiment_id)
    # By the address, not by the variable: MLflow sets that by itself.
    embedded = tracking_uri(workspace) == _embedded_uri(workspace)
    artifacts = (workspace.state.resolve() / "mlartifacts").as_uri() if embedded else None
    # Or MLflow's page opens on its view for agents, which is empty for a training.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(name, artifact_location=artifacts, tags=kind))


def log_steps(client: MlflowClient, run_id: str, rows: list[StepMetrics]) -> None:
    """Send lines of `metrics.jsonl`; a step that is sent twice with two times is two points to MLflow."""
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
    """The training steps a run has."""
    return {float(point.step) for point in client.get_metric_history(run_id, "loss")}


@contextmanager
def following(
    client: MlflowClient, run_id: str, file: Path, warn: Callable[[str], None], *, every: float = 2.0
) -> Iterator[None]:
    """Send the steps of a training as they are written, until the block ends; none that the run has already.

    Only what is written from now on: the file may still hold another training's steps, which that training's
    successor removes. `log_results` sends the whole of a finished training once more.
    """
    from mlflow.exceptions import MlflowException

    ended = threading.Event()
    started = time.time()

    def follow() -> None:
        sent: set[float] | None = None
        while True:
            last = ended.wait(every)
            rows = [row for row in read_metrics(file) if row["time"] > started]
            try:
                sent = _steps_of(client, run_id) if sent is None else sent
                log_steps(client, run_id, [row for row in rows if row["step"] not in sent])
                sent |= {row["step"] for row in rows}
            except MlflowException as error:  # a training does not end because its tracking server does
                unsent = len([row for row in rows if row["step"] not in (sent or ())])
                warn(f"MLflow did not take {unsent} steps, they are sent again: {error}")
            if last:
                return

    thread = threading.Thread(target=follow, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def log_evidence(client: MlflowClient, run_id: str, workspace: Workspace) -> None:
    """Attach all steps of a run, what a person wants to see of it, and what a later decision rests on."""
    sent = _steps_of(client, run_id)
    log_steps(client, run_id, [row for row in read_metrics(workspace.metrics) if row["step"] not in sent])
    for directory in ("reports", "reports/plots", "reports/validation"):
        for file in sorted((workspace.root / directory).glob("*.*")):
            if file != workspace.summary:  # on the disk it is still the last run's
                client.log_artifact(run_id, str(file), directory)
    for file in (workspace.values, workspace.evaluations, workspace.lock, workspace.params):
        client.log_artifact(run_id, str(file), "tables" if file.suffix == ".parquet" else "lineage")


def log_summary(client: MlflowClient, run_id: str, summary: dict[str, Any]) -> None:
    """Attach a run's outcome and the figures to sort runs by."""
    from mlflow.entities import Metric

    client.log_dict(run_id, summary, "reports/summary.json")
    evaluation = summary["eval"]
    figures = {
        "eval/gain": evaluation["gain"],
        "eval/kl": evaluation["kl"],
        "eval/reference_pass_at_1": evaluation["reference"]["pass@1"],
        "eval/policy_pass_at_1": evaluation["policy"]["pass@1"],
        "train/peak_rss_mib": summary["train"]["peak_rss_mib"],
        "seconds": sum(summary["seconds"].values()),
    }
    for name, block in evaluation["sets"].items():
        figures[f"eval/gain/{re.sub(_NOT_IN_NAMES, '_', name)}"] = block["gain"]
    # Of one time, however often this is tried: two times are two points.
    time_of_run = client.get_run(run_id).info.start_time
    client.log_batch(run_id, metrics=[Metric(name, value, time_of_run, 0) for name, value in figures.items()])
