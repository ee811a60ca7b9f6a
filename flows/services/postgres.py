"""PostgreSQL as Debian packages it, with a database each for MLflow's runs, MLflow's accounts and Prefect."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from apo_core.errors import ApoError
from apo_core.system.files import replacing
from apo_core.system.loopback import HOST
from flows.services.paths import ServicePaths
from flows.services.processes import Launch, inherited

_PACKAGED = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"
# The databases, each with the role it belongs to.
_DATABASES = {"mlflow": "mlflow", "mlflow_accounts": "mlflow", "prefect": "prefect"}


class Postgres:
    """See `flows.services.service.Service`."""

    name = "postgres"
    title = "PostgreSQL"
    ports: tuple[str, ...] = ("postgres",)
    needs: tuple[str, ...] = ()
    # Ends its connections and writes a checkpoint; SIGTERM would wait for them.
    stop_signal: signal.Signals = signal.SIGINT

    def prepare(self, paths: ServicePaths) -> Launch:
        """Make an empty cluster the first time."""
        account, binaries, data = _account(), programs(), _data(paths)
        home = paths.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
            _refuse_closed(home, account)
        if not data.exists():
            _make_cluster(data, binaries, paths.passwords["postgres"], account)
        elif not self.orphans(paths):
            # One that was killed leaves its number here, which may be another's by now, or a zombie's.
            data.joinpath("postmaster.pid").unlink(missing_ok=True)
        where = ["-p", str(paths.ports["postgres"]), "-h", HOST, "-k", ""]  # and no socket in the file system
        command = [str(binaries / "postgres"), "-D", str(data), *where]
        return Launch(command=command, directory=home, account=account)

    def answers(self, paths: ServicePaths) -> bool:
        """Whether the superuser can log in."""
        import psycopg2

        try:
            with _session(paths):
                return True
        except psycopg2.OperationalError:
            return False

    def bootstrap(self, paths: ServicePaths) -> None:
        """Make roles and databases that do not exist."""
        from psycopg2.extensions import encrypt_password
        from psycopg2.sql import SQL, Identifier, Literal

        with _session(paths) as cursor:
            for role in sorted(set(_DATABASES.values())):
                if not _exists(cursor, "pg_roles", "rolname", role):
                    # The server sees, and could log, no more than what it stores.
                    password = encrypt_password(
                        paths.passwords[f"{role}-database"], role, cursor.connection, "scram-sha-256"
                    )
                    statement = SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    cursor.execute(statement.format(Identifier(role), Literal(password)))
            for database, owner in _DATABASES.items():
                if not _exists(cursor, "pg_database", "datname", database):
                    statement = SQL("CREATE DATABASE {} OWNER {}")
                    cursor.execute(statement.format(Identifier(database), Identifier(owner)))

    def orphans(self, paths: ServicePaths) -> list[psutil.Process]:
        """Children of a killed server, until they notice; their environment, and the tag in it, is gone."""
        data, children = str(_data(paths)), []
        for process in psutil.process_iter():
            try:
                if process.cwd() == data and Path(process.exe()).name.startswith("postgres"):
                    children.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return children


def _data(paths: ServicePaths) -> Path:
    return paths.home("postgres") / "data"


def programs() -> Path:
    """Where PostgreSQL's programs are: on the path, or where Debian puts the newest.

    Raises:
        ApoError: nowhere.
    """
    on_path = shutil.which("initdb")
    if on_path and (binaries := Path(on_path).resolve().parent).joinpath("postgres").exists():
        return binaries
    packaged = list(_PACKAGED.glob("*/bin/initdb"))
    if not packaged:
        raise ApoError("PostgreSQL is not installed; on Debian or Ubuntu: apt-get install postgresql")
    return max(packaged, key=lambda file: float(file.parts[-3])).parent


def _account() -> pwd.struct_passwd | None:
    """Find the account for PostgreSQL if root starts it, since it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise ApoError(
            "PostgreSQL does not run as root, and there is no user postgres; the package postgresql makes one"
        ) from None


def _refuse_closed(home: Path, account: pwd.struct_passwd) -> None:
    for directory in (*reversed(home.parents), home):
        if _as(account, ["test", "-x", str(directory)]).returncode != 0:
            raise ApoError(
                f"{directory}: user {account.pw_name}, whom PostgreSQL runs as, may not enter it;"
                " choose another --directory, or chmod o+x"
            )


def _make_cluster(data: Path, binaries: Path, password: str, account: pwd.struct_passwd | None) -> None:
    with replacing(data) as temporary, _file_for(account, data.with_name("password"), password) as file:
        done = _as(
            account,
            [
                *(str(binaries / "initdb"), "--pgdata", str(temporary), "--pwfile", str(file)),
                *("--username", _SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                "--no-sync",  # `replacing` does that
            ],
        )
        if done.returncode != 0:
            raise ApoError((done.stderr.strip() or "initdb failed").splitlines()[0])


@contextmanager
def _file_for(account: pwd.struct_passwd | None, file: Path, text: str) -> Iterator[Path]:
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    try:
        file.write_text(text, encoding="utf-8")
        if account:
            os.chown(file, account.pw_uid, account.pw_gid)
        yield file
    finally:
        file.unlink()


def _as(account: pwd.struct_passwd | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd="/",
        env=inherited(),
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=[] if account else None,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _session(paths: ServicePaths) -> Iterator[Any]:
    """A cursor of the superuser, every statement a transaction of its own."""
    import psycopg2

    connection = psycopg2.connect(
        host=HOST,
        port=paths.ports["postgres"],
        user=_SUPERUSER,
        dbname="postgres",
        password=paths.passwords["postgres"],
        connect_timeout=5,
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _exists(cursor: Any, table: str, column: str, value: str) -> bool:
    cursor.execute(f"SELECT 1 FROM {table} WHERE {column} = %s", (value,))
    return cursor.fetchone() is not None
