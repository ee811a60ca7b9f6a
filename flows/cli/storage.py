"""`apo publish` and `apo download`: registered models on S3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apo_core.system.environment import use_local_prefect
from flows.cli.errors import report_errors
from tasks.workspace import Workspace


def publish(
    model: Annotated[str, typer.Argument(help="MODEL/VERSION, MODEL@ALIAS, or MODEL for its champion.")],
    address: Annotated[str, typer.Argument(help="s3://bucket/prefix; it lies below, in MODEL/VERSION.")],
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Directory with params.yaml and dvc.yaml.")
    ] = Path(),
) -> None:
    """Send a registered model to S3; an interrupted publication goes on, a finished one is left alone."""
    from apo_core.config.file import load_params
    from tasks.storage.s3_client import bucket_and_key

    place = Workspace(workspace)
    load_params(place.params)  # no registry is made in what is no workspace
    bucket_and_key(address)
    use_local_prefect(place.prefect_home)
    from tasks.decisions.log import open_log
    from tasks.storage.publish import publish_version
    from tasks.tracking.registry import parse_spec

    spec = parse_spec(model)
    with report_errors():
        log = open_log(place, spec.model)
        registered = log.resolve(spec)
        there = publish_version(log.client, place, registered, address, print)
    print(f"{there} holds {registered.name} version {registered.version}")


def download(
    address: Annotated[str, typer.Argument(help="s3://bucket/prefix/MODEL/VERSION")],
    directory: Annotated[Path, typer.Argument(help="Where the model directory is written.")],
) -> None:
    """Get a published model from S3, whole and checked, as a Hugging Face directory."""
    from tasks.storage.download import download as get

    with report_errors():
        get(address, directory, print)
    print(f"{directory} holds {address}")
