"""One directory of services: where their data, logs, ports and passwords are."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apo_core.system.files import read_json, write_private
from apo_core.system.loopback import HOST

BUCKETS = ("dvc", "mlflow", "data", "audit")
ADMINISTRATOR = "admin"
REGION = "us-east-1"
# Of the databases' superuser and owners, of the object store, of MLflow's first account and its cookies.
_PASSWORDS = ("postgres", "mlflow-database", "prefect-database", "s3", "mlflow", "mlflow-cookies")


@dataclass(frozen=True, kw_only=True)
class ServicePaths:
    """Directories, ports and passwords that the services share. The root is absolute."""

    root: Path
    ports: dict[str, int]
    passwords: dict[str, str]

    def home(self, name: str) -> Path:
        """A service's own directory."""
        return self.root / name

    def log(self, name: str) -> Path:
        """The log file of a service."""
        return self.root / f"logs/{name}.log"

    def process_tag(self, name: str) -> str:
        """Tag in the environment of a service's processes; a copy of the directory has tags of its own."""
        return f"{name}@{self.root}"

    def url(self, name: str) -> str:
        """The address of a service that speaks HTTP."""
        return f"http://{HOST}:{self.ports[name]}"

    def database(self, owner: str, name: str | None = None) -> str:
        """`owner@host:port/name` of a database; its password is in `passwords_of_databases`."""
        return f"{owner}@{HOST}:{self.ports['postgres']}/{name or owner}"

    @property
    def passwords_of_databases(self) -> Path:
        """PostgreSQL's own password file, for `PGPASSFILE`: no address has to hold a password."""
        return self.root / "pgpass"

    @property
    def variables_file(self) -> Path:
        """The file of variables that a user's shell sources."""
        return self.root / "services.env"

    @property
    def s3_variables(self) -> dict[str, str]:
        """Environment variables for a client of the object store."""
        return {
            "AWS_ACCESS_KEY_ID": "apo",
            "AWS_SECRET_ACCESS_KEY": self.passwords["s3"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url("s3"),
        }

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for a client of all services."""
        return self.s3_variables | {
            "PREFECT_API_URL": f"{self.url('prefect')}/api",
            # What the server answers while its database is away; else a worker ends, and its runs with it.
            "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
            "MLFLOW_TRACKING_URI": self.url("mlflow"),
            "MLFLOW_TRACKING_USERNAME": ADMINISTRATOR,
            "MLFLOW_TRACKING_PASSWORD": self.passwords["mlflow"],
            "APO_AUDIT_URI": "s3://audit/apo",
        }

    def write_files(self) -> None:
        """Write the files that clients read: the variables to source and the databases' passwords."""
        lines = [f"export {name}={value}\n" for name, value in sorted(self.variables.items())]
        write_private(self.variables_file, "".join(lines))
        owners = {"postgres": "postgres", "mlflow": "mlflow-database", "prefect": "prefect-database"}
        lines = [
            f"{HOST}:{self.ports['postgres']}:*:{owner}:{self.passwords[password]}\n"
            for owner, password in owners.items()
        ]
        write_private(self.passwords_of_databases, "".join(lines))


def passwords_in(root: Path) -> dict[str, str]:
    """The passwords of a directory of services, made at random the first time."""
    file = root / "passwords.json"
    if not file.exists():
        write_private(file, json.dumps({name: secrets.token_hex(24) for name in _PASSWORDS}))
    passwords: dict[str, str] = read_json(file)
    return passwords


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Hold the lock under which services of this directory are started and stopped."""
    with os.fdopen(os.open(root / "lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
