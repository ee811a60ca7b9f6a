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
from flows.services.local_server import HOST
from flows.services.paths import Site
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

    def prepare(self, site: Site) -> Launch:
        """Make an empty cluster the first time."""
        account, place, data = _account(), programs(), _data(site)
        home = site.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
            _refuse_closed(home, account)
        if not data.exists():
            _make_cluster(data, place, site.passwords["postgres"], account)
        elif not self.leftovers(site):
            # One that was killed leaves its number here, which may be another's by now, or a zombie's.
            data.joinpath("postmaster.pid").unlink(missing_ok=True)
        where = ["-p", str(site.ports["postgres"]), "-h", HOST, "-k", ""]  # and no socket in the file system
        return Launch([str(place / "postgres"), "-D", str(data), *where], home, account=account)

    def answers(self, site: Site) -> bool:
        """Whether its superuser can log in."""
        import psycopg2

        try:
            with _session(site):
                return True
        except psycopg2.OperationalError:
            return False

    def complete(self, site: Site) -> None:
        """Make roles and databases that are not there."""
        from psycopg2.extensions import encrypt_password
        from psycopg2.sql import SQL, Identifier, Literal

        with _session(site) as cursor:
            for role in sorted(set(_DATABASES.values())):
                if not _exists(cursor, "pg_roles", "rolname", role):
                    # The server sees, and could log, no more than what it stores.
                    password = encrypt_password(
                        site.passwords[f"{role}-database"], role, cursor.connection, "scram-sha-256"
                    )
                    statement = SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    cursor.execute(statement.format(Identifier(role), Literal(password)))
            for database, owner in _DATABASES.items():
                if not _exists(cursor, "pg_database", "datname", database):
                    statement = SQL("CREATE DATABASE {} OWNER {}")
                    cursor.execute(statement.format(Identifier(database), Identifier(owner)))

    def leftovers(self, site: Site) -> list[psutil.Process]:
        """Its children, until they notice that it was killed; of their environment nothing is left."""
        data, found = str(_data(site)), []
        for process in psutil.process_iter():
            try:
                if process.cwd() == data and Path(process.exe()).name.startswith("postgres"):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


def _data(site: Site) -> Path:
    return site.home("postgres") / "data"


def programs() -> Path:
    """Where PostgreSQL's programs are: on the path, or where Debian puts the newest.

    Raises:
        ApoError: nowhere.
    """
    on_path = shutil.which("initdb")
    if on_path and (place := Path(on_path).resolve().parent).joinpath("postgres").exists():
        return place
    packaged = list(_PACKAGED.glob("*/bin/initdb"))
    if not packaged:
        raise ApoError("PostgreSQL is not installed; on Debian or Ubuntu: apt-get install postgresql")
    return max(packaged, key=lambda file: float(file.parts[-3])).parent


def _account() -> pwd.struct_passwd | None:
    """Whom it runs as where root starts it, which it refuses to run as."""
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


def _make_cluster(data: Path, place: Path, password: str, account: pwd.struct_passwd | None) -> None:
    with replacing(data) as temporary, _file_for(account, data.with_name("password"), password) as file:
        done = _as(
            account,
            [
                *(str(place / "initdb"), "--pgdata", str(temporary), "--pwfile", str(file)),
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
def _session(site: Site) -> Iterator[Any]:
    """A cursor of the superuser, every statement a transaction of its own."""
    import psycopg2

    connection = psycopg2.connect(
        host=HOST,
        port=site.ports["postgres"],
        user=_SUPERUSER,
        dbname="postgres",
        password=site.passwords["postgres"],
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
