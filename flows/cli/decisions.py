"""The commands for people's decisions on a model: approve, reject, roll back; audit, lineage, restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apo_core.decisions.approval_rule import Decision
from apo_core.errors import ApoError
from apo_core.system.environment import prepare_command
from flows.cli.errors import report_errors
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.decisions.log import DecisionLog

app = typer.Typer()
Directory = Annotated[
    Path,
    typer.Option("--workspace", "-w", help="Workspace; its stores are used if no servers are configured."),
]
Model = Annotated[str, typer.Argument(help="Name in the registry.")]
Version = Annotated[str, typer.Argument(help="Number in the registry.")]
By = Annotated[str, typer.Option("--by", help="Name of the person who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]
Spec = Annotated[str, typer.Argument(help="MODEL/VERSION, MODEL@ALIAS, or MODEL for its champion.")]


@contextmanager
def decision_log(workspace: Workspace, model: str, *, lost: bool = False) -> Iterator[DecisionLog]:
    """Open the log of a model's decisions, and its registry, for a command that a person waits for.

    Args:
        workspace: whose stores are used where no servers are configured.
        model: name of the registered model.
        lost: a registry that is not there is made.

    Raises:
        ApoError: no run has been recorded in the workspace, or a service refuses or does not answer in the
            block.
    """
    from tasks.decisions.log import open_log, open_store
    from tasks.tracking.store import check_server, has_registry

    log_is_there = not has_registry(workspace) and bool(open_store(workspace).names(model))
    if log_is_there and not lost:
        raise ApoError(
            f"{workspace.root}: the log of {model} is here, and no registry: was it lost? "
            f"`apo reconcile {model}` makes it again"
        )
    if not has_registry(workspace) and not log_is_there:
        raise ApoError(f"{workspace.root}: no run has been recorded here; is it the workspace (-w)?")
    prepare_command()
    check_server(workspace)
    with report_errors():
        yield open_log(workspace, model)


@app.command()
def approve(model: Model, version: Version, by: By, reason: Reason, workspace: Directory = Path()) -> None:
    """Make a candidate the champion."""
    _decide(workspace, model, version, "approve", by, reason)


@app.command()
def reject(model: Model, version: Version, by: By, reason: Reason, workspace: Directory = Path()) -> None:
    """Turn a candidate down."""
    _decide(workspace, model, version, "reject", by, reason)


def _decide(directory: Path, model: str, version: str, decision: Decision, by: str, reason: str) -> None:
    from tasks.decisions.decide import decide

    with decision_log(Workspace.at(directory), model) as log:
        entry = decide(log, version, decision, by=by, reason=reason, account=log.account())
    if entry is None:
        print(f"{model} version {version}: you have decided so before; nothing has changed")
    else:
        print(f"{model} version {version}: {entry.event} by {entry.by} (entry {entry.sequence})")


@app.command()
def rollback(
    model: Model,
    by: By,
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="Version; by default the champion before.")] = None,
    workspace: Directory = Path(),
) -> None:
    """Make a former champion the champion again."""
    from tasks.decisions.decide import roll_back

    with decision_log(Workspace.at(workspace), model) as log:
        entry = roll_back(log, to, by=by, reason=reason)
    if entry is None:
        print(f"{model}: you have rolled back so before; nothing has changed")
    else:
        print(f"{model}: version {entry.version} is champion again (entry {entry.sequence})")


@app.command()
def reconcile(model: Model, workspace: Directory = Path()) -> None:
    """Take up decisions of MLflow's page, close what is late, set aliases; make a lost registry again."""
    from apo_core.config.file import load_params
    from tasks.decisions import decide
    from tasks.decisions.rebuild import needs_rebuild, rebuild
    from tasks.lock import only_run

    target = Workspace.at(workspace)
    done = []
    with decision_log(target, model, lost=True) as log:
        if needs_rebuild(log):
            with only_run(target):
                done = rebuild(log, target, load_params(target.params).tracking.experiment)
        done += decide.reconcile(log)
    for line in done or ["nothing to do"]:
        print(line)


@app.command()
def audit(model: Model, workspace: Directory = Path()) -> None:
    """Verify the log of a model's decisions, and print it."""
    from flows.cli.tables import print_audit

    with decision_log(Workspace.at(workspace), model) as log:
        entries = log.read()
    if not entries:
        raise ApoError(f"{model}: no decisions are recorded here; is it the name, and the workspace (-w)?")
    print_audit(entries)


@app.command()
def lineage(spec: Spec, workspace: Directory = Path()) -> None:
    """Show what a version was made from, and who approved it."""
    from flows.cli.tables import print_lineage
    from tasks.lineage.lineage import lineage_of
    from tasks.tracking.registry import parse_spec

    version = parse_spec(spec)
    with decision_log(Workspace.at(workspace), version.model) as log:
        print_lineage(lineage_of(log.client, log.resolve(version), log.read()))


@app.command()
def restore(
    spec: Spec,
    workspace: Annotated[
        Path,
        typer.Option("--workspace", "-w", help="Directory with params.yaml; it becomes that of the version."),
    ] = Path(),
) -> None:
    """Bring back a version's configuration, dvc.lock and data, by DVC's remote; replaced files are kept."""
    from apo_core.config.file import load_params
    from tasks.lineage.restore import restore_version
    from tasks.lock import only_run
    from tasks.tracking.registry import parse_spec

    target, version = Workspace.at(workspace), parse_spec(spec)
    load_params(target.params)  # refuses a directory that is no workspace, before a lock is left in it
    with decision_log(target, version.model) as log, only_run(target):
        changed = restore_version(log.client, target, log.resolve(version), print)
    print(f"{target.root} has data, configuration and dvc.lock of {spec}")
    if changed:
        print(f"what is in git differs: these stages would run again: {', '.join(changed)}")
