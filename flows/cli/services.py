"""`apo services`: the servers a company runs, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apo_core.errors import ApoError

app = typer.Typer(
    help="Run PostgreSQL, an object store, MLflow with accounts and Prefect on loopback, as a company does.",
    no_args_is_help=True,
)
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Any of postgres, s3, mlflow, prefect; none means all."),
]
Directory = Annotated[Path, typer.Option(help="Directory of their data, logs and passwords.")]
_DIRECTORY = Path(".apo/services")


@app.command()
def start(
    names: Names = None,
    directory: Directory = _DIRECTORY,
    port: Annotated[
        list[str] | None,
        typer.Option(help="name=number; free ports are chosen the first time, and kept."),
    ] = None,
) -> None:
    """Start services that do not run, those they need included; they go on when this command ends."""
    from flows.services.control import Services

    services = Services(directory)
    for status in services.start(*names or [], ports=_ports(port or [])):
        print(f"{status.service.title}: ready on {status.address}", flush=True)
    print(f"Addresses and passwords: . {services.paths().variables_file}")


@app.command()
def stop(names: Names = None, directory: Directory = _DIRECTORY) -> None:
    """Stop services that were started here; data, ports and passwords are kept."""
    from flows.services.control import Services

    stopped = Services(directory).stop(*names or [])
    for service in stopped:
        print(f"{service.title}: stopped", flush=True)
    if not stopped:
        print("nothing was running")


@app.command()
def status(names: Names = None, directory: Directory = _DIRECTORY) -> None:
    """Show which services run and answer; exit status 1 if one does not."""
    from flows.services.control import Services, refuse_missing_packages

    refuse_missing_packages()
    statuses = Services(directory).status(*names or [])
    for state in statuses:
        if state.process is None:
            print(f"{state.service.title}: not running")
        else:
            condition = "ready" if state.answers else "running, but does not answer"
            print(f"{state.service.title}: {condition}, {state.address}, process {state.process}")
    if not all(state.answers for state in statuses):
        raise typer.Exit(1)


def _ports(options: list[str]) -> dict[str, int]:
    ports = {}
    for option in options:
        name, _, number = option.partition("=")
        if not number.isdecimal() or not 0 < int(number) < 2**16:
            raise ApoError(f"--port {option}: not of the form name=number")
        ports[name] = int(number)
    return ports
