"""`apo publish` and `apo download`: registered models on S3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apo_core.system.environment import use_local_prefect
from flows.cli.errors import report_errors
from flows.cli.options import WorkspaceOption
from tasks.workspace import Workspace


def publish(
    model: Annotated[str, typer.Argument(help="MODEL/VERSION, MODEL@ALIAS, or MODEL for its champion.")],
    address: Annotated[
        str, typer.Argument(help="s3://bucket/prefix; the model is written to MODEL/VERSION below it.")
    ],
    workspace: WorkspaceOption = Path(),
) -> None:
    """Send a registered model to S3. The same command resumes an interrupted publication."""
    from apo_core.config.file import load_params
    from tasks.storage.s3_client import bucket_and_key

    opened = Workspace(workspace)
    load_params(opened.params)  # first: no registry is to be made in a directory that is no workspace
    bucket_and_key(address)
    use_local_prefect(opened.prefect_home)
    from tasks.decisions.log import open_log
    from tasks.storage.publish import publish_version
    from tasks.tracking.registry import parse_spec

    spec = parse_spec(model)
    with report_errors():
        log = open_log(opened, spec.model)
        registered = log.resolve(spec)
        published_at = publish_version(log.client, opened, registered, address, print)
    print(f"{published_at} holds {registered.name} version {registered.version}")


def download(
    address: Annotated[str, typer.Argument(help="s3://bucket/prefix/MODEL/VERSION")],
    directory: Annotated[Path, typer.Argument(help="Where the model directory is written.")],
) -> None:
    """Download a published model from S3 into a new Hugging Face directory, and check it."""
    from tasks.storage.download import download as download_model

    with report_errors():
        download_model(address, directory, print)
    print(f"{directory} holds {address}")
