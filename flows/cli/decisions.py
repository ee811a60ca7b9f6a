"""The commands of people's decisions, and of what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apo_core.decisions.approval_rule import Decision
from apo_core.errors import ApoError
from flows.cli.stores import stores_of
from tasks.workspace import Workspace

app = typer.Typer()
Place = Annotated[
    Path, typer.Option("--workspace", "-w", help="Its stores are used where no servers are set.")
]
Model = Annotated[str, typer.Argument(help="Name in the registry.")]
Version = Annotated[str, typer.Argument(help="Number in the registry.")]
By = Annotated[str, typer.Option("--by", help="Name of the person who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]
Spec = Annotated[str, typer.Argument(help="MODEL/VERSION, MODEL@ALIAS, or MODEL for its champion.")]


@app.command()
def approve(model: Model, version: Version, by: By, reason: Reason, workspace: Place = Path()) -> None:
    """Make a candidate the champion."""
    _decide(workspace, model, version, "approve", by, reason)


@app.command()
def reject(model: Model, version: Version, by: By, reason: Reason, workspace: Place = Path()) -> None:
    """Turn a candidate down."""
    _decide(workspace, model, version, "reject", by, reason)


@app.command()
def rollback(
    model: Model,
    by: By,
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="Version; by default the champion before.")] = None,
    workspace: Place = Path(),
) -> None:
    """Give production back to an earlier champion."""
    from tasks.decisions.approve import roll_back

    with stores_of(Workspace.at(workspace)) as (client, store):
        entry = roll_back(client, store, model, to, by=by, reason=reason)
    if entry is None:
        print(f"{model}: you have said so before; nothing has changed")
    else:
        print(f"{model}: version {entry.version} is champion again (entry {entry.sequence})")


@app.command()
def reconcile(model: Model, workspace: Place = Path()) -> None:
    """Take up decisions made on MLflow's page, close what is out of time, set aliases right."""
    from tasks.decisions import approve

    with stores_of(Workspace.at(workspace)) as (client, store):
        done = approve.reconcile(client, store, model)
    for line in done or ["nothing to do"]:
        print(line)


@app.command()
def audit(model: Model, workspace: Place = Path()) -> None:
    """Verify the log of a model's decisions, and print it."""
    from flows.cli.tables import print_audit
    from tasks.decisions.aliases import read

    with stores_of(Workspace.at(workspace)) as (client, store):
        entries = read(client, store, model)
    if not entries:
        raise ApoError(f"{model}: no decisions are recorded here; is it the name, and the workspace (-w)?")
    print_audit(entries)


@app.command()
def lineage(spec: Spec, workspace: Place = Path()) -> None:
    """Show what a version was made from, and who approved it."""
    from flows.cli.tables import print_lineage
    from tasks.decisions.aliases import resolve_approved
    from tasks.lineage.lineage import lineage_of

    with stores_of(Workspace.at(workspace)) as (client, store):
        print_lineage(lineage_of(client, store, resolve_approved(client, store, spec)))


@app.command()
def restore(
    spec: Spec,
    workspace: Annotated[
        Path,
        typer.Option("--workspace", "-w", help="Directory with params.yaml; it becomes that of the version."),
    ] = Path(),
) -> None:
    """Bring back a version's configuration, dvc.lock and data, by DVC's remote; what it replaces is kept."""
    from apo_core.config.file import load_params
    from tasks.decisions.aliases import resolve_approved
    from tasks.lineage.restore import restore_version
    from tasks.lock import only_run

    place = Workspace.at(workspace)
    load_params(place.params)  # no lock is left in what is no workspace
    with stores_of(place) as (client, store), only_run(place):
        changed = restore_version(client, place, resolve_approved(client, store, spec), print)
    print(f"{place.root} has data, configuration and dvc.lock of {spec}")
    if changed:
        print(f"what is in git differs: these stages would run again: {', '.join(changed)}")


def _decide(workspace: Path, model: str, version: str, decision: Decision, by: str, reason: str) -> None:
    from tasks.decisions.approve import decide

    with stores_of(Workspace.at(workspace)) as (client, store):
        entry = decide(client, store, model, version, decision, by=by, reason=reason)
    if entry is None:
        print(f"{model} version {version}: you have said so before; nothing has changed")
    else:
        print(f"{model} version {version}: {entry.event} by {entry.by} (entry {entry.sequence})")
