"""`apo services`: the servers a company runs, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apo_core.errors import ApoError

app = typer.Typer(
    help="PostgreSQL, an object store, MLflow with accounts and Prefect on loopback.",
    no_args_is_help=True,
)
Names = Annotated[
    list[str] | None, typer.Argument(help="postgres, s3, mlflow, prefect; all where none is named.")
]
Directory = Annotated[Path, typer.Option(help="Where their data, logs and passwords are.")]
_PLACE = Path(".apo/services")


@app.command()
def start(
    names: Names = None,
    directory: Directory = _PLACE,
    port: Annotated[
        list[str] | None, typer.Option(help="name=number; free ones are chosen the first time, and kept.")
    ] = None,
) -> None:
    """Start what does not run, with what it needs; it runs on when this command has ended."""
    from flows.services.control import Services

    services = Services(directory)
    for status in services.start(*names or [], ports=_ports(port or [])):
        print(f"{status.service.title}: ready on {status.address}", flush=True)
    print(f"Addresses and passwords: . {services.site().variables_file}")


@app.command()
def stop(names: Names = None, directory: Directory = _PLACE) -> None:
    """End what was started here; data, ports and passwords are kept."""
    from flows.services.control import Services

    ended = Services(directory).stop(*names or [])
    for service in ended:
        print(f"{service.title}: stopped", flush=True)
    if not ended:
        print("nothing was running")


@app.command()
def status(names: Names = None, directory: Directory = _PLACE) -> None:
    """Say what runs and answers; exit status 1 if something does not."""
    from flows.services.control import Services

    found = Services(directory).status(*names or [])
    for one in found:
        if one.process is None:
            print(f"{one.service.title}: not running")
        else:
            words = "ready" if one.answers else "running, but does not answer"
            print(f"{one.service.title}: {words}, {one.address}, process {one.process}")
    if not all(one.answers for one in found):
        raise typer.Exit(1)


def _ports(settings: list[str]) -> dict[str, int]:
    ports = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        if not number.isdecimal() or not 0 < int(number) < 2**16:
            raise ApoError(f"--port {setting}: not of the form name=number")
        ports[name] = int(number)
    return ports
