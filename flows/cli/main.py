"""`apo`: the command line over the flows."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apo_core.errors import ApoError, error_in_words
from apo_core.system.environment import prepare_command, use_local_prefect
from apo_core.system.imports import quick_imports
from flows.cli import decisions, services, set_up, storage
from flows.cli.errors import report_errors
from flows.cli.help import COMMANDS, SERVICES, describe
from flows.cli.hints import in_workspace, named_workspace
from flows.cli.options import Overrides, WorkspaceOption, workspace_option
from tasks.workspace import STAGES, Workspace, check_room, check_stages, check_writable

if TYPE_CHECKING:
    from apo_core.config import Params

app = typer.Typer(
    help="A*-PO reinforcement learning as a reproducible pipeline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    directory: WorkspaceOption = Path(),
    overrides: Overrides = None,
    force: Annotated[
        list[str] | None,
        typer.Option(help="Run this stage even if nothing has changed; may be given more than once."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Who starts the run, by default this machine's user; see promotion.four_eyes."),
    ] = None,
) -> None:
    """Run the pipeline: every stage that is not up to date, then the registry; print the summary."""
    from flows.doctor.inputs import refuse_missing_inputs
    from tasks.lock import refuse_second_run

    workspace = Workspace(directory)
    check_stages(force or [])
    print("starting", flush=True)  # the libraries and the server take a while
    # What can be refused is refused before any server is started.
    params = _checked(workspace, overrides)
    check_writable(workspace)
    check_room(workspace)
    refuse_second_run(workspace)
    refuse_missing_inputs(workspace, params)
    use_local_prefect(workspace.prefect_home)
    from flows.services.local_server import prefect_api

    with prefect_api(workspace) as wait_until_ready:  # before Prefect is imported: it reads its settings then
        with quick_imports():
            from flows.cli.tables import print_summary
            from flows.logs import install_log_filter
            from flows.pipeline import pipeline

        install_log_filter()
        wait_until_ready()
        with report_errors():
            summary = pipeline(
                str(directory.resolve()), tuple(overrides or ()), tuple(force or ()), started_by=by
            )
    option = workspace_option(directory)
    print_summary(summary, option)
    print(f"Pages of the run and of the model: apo ui{option}")


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STAGES)}.")],
    directory: WorkspaceOption = Path(),
    overrides: Overrides = None,
    force: Annotated[
        bool,
        typer.Option(help="Run it even if nothing has changed, without its shards or checkpoints."),
    ] = False,
) -> None:
    """Run one stage of the pipeline through DVC, without Prefect."""
    from apo_core.config.file import set_params
    from tasks.dvc.run import run_stage
    from tasks.lock import only_run

    workspace = Workspace(directory)
    check_stages([name])
    _checked(workspace, overrides)
    with report_errors(), only_run(workspace):
        set_params(workspace.params, overrides or [])
        outcome = run_stage(workspace.root, name, print, force=force, fresh=force)
    print(f"{name}: {outcome}")


@app.command()
def status(directory: WorkspaceOption = Path()) -> None:
    """Show which stages are up to date, and the outcome of the last run."""
    from apo_core.config.file import load_params
    from flows.cli.status import print_status

    workspace = Workspace(directory)
    load_params(workspace.params)
    print_status(workspace, workspace_option(directory))


@app.command()
def fsck(
    directory: WorkspaceOption = Path(),
    mend: Annotated[
        bool,
        typer.Option("--mend/--look", help="Put whole copies in the place of damaged ones, or only look."),
    ] = True,
) -> None:
    """Compare all bytes with their record: outputs, DVC's copies, checkpoints, registry; mend what can be."""
    from apo_core.config.file import load_params
    from flows.cli.fsck import print_findings
    from tasks.integrity.fsck import fsck
    from tasks.lock import only_run

    workspace = Workspace.at(directory)
    model = load_params(workspace.params).tracking.model
    with report_errors(), only_run(workspace):
        whole = print_findings(fsck(workspace, model, mend=mend), workspace.state / "damaged", str(directory))
    if not whole:
        raise typer.Exit(1)


@app.command()
def deploy(directory: WorkspaceOption = Path()) -> None:
    """Make or change the Prefect deployments of `prefect.yaml`; the variables that it names must be set."""
    from flows.cli.deploy import deploy

    deploy(Workspace(directory))


@app.command()
def ui(
    directory: WorkspaceOption = Path(),
    prefect_port: Annotated[int, typer.Option(help="Loopback port of Prefect's page.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Loopback port of MLflow's page.")] = 5000,
) -> None:
    """Serve the Prefect and MLflow pages on loopback until interrupted."""
    from apo_core.config.file import load_params

    workspace = Workspace(directory)
    experiment = load_params(workspace.params).tracking.experiment
    check_writable(workspace)
    use_local_prefect(workspace.prefect_home)
    from flows.services.pages import serve

    serve(workspace, experiment=experiment, prefect_port=prefect_port, mlflow_port=mlflow_port)


app.command()(storage.publish)
app.command()(storage.download)
app.registered_commands += set_up.app.registered_commands + decisions.app.registered_commands
describe(app)
app.add_typer(
    services.app, name="services", rich_help_panel=SERVICES, epilog=f"Example: {COMMANDS['services'][1]}"
)


def _checked(workspace: Workspace, overrides: list[str] | None) -> Params:
    """Compute the parameters with overrides; print what will change in the file."""
    from apo_core.config.file import changed_keys, set_params

    params = set_params(workspace.params, overrides or [], write=False)
    for change in changed_keys(workspace.params, overrides or []):
        print(f"{workspace.params}: {change}", flush=True)
    return params


def _readable(arguments: list[str]) -> list[str]:
    """Names and reasons as people wrote them: under a locale of ASCII, Python reads lone surrogates there."""
    before = ["", *arguments]
    return [
        os.fsencode(argument).decode("utf-8", "replace")
        if option in ("--by", "--reason") or argument.startswith(("--by=", "--reason="))
        else argument
        for option, argument in zip(before, arguments, strict=False)
    ]


def main() -> None:
    """Run the command line; an error that the user can mend is one line, with exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    try:
        prepare_command()
        app(_readable(sys.argv[1:]))
    except ApoError as error:
        advice = in_workspace(str(error), named_workspace(sys.argv[1:]))
        print(f"error: {advice}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:  # a disk that fails, a file of another user, a directory in a file's place
        print(f"error: {error_in_words(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
