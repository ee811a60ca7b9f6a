"""MLflow's server: runs and accounts in PostgreSQL, artifacts through it to the object store."""

from __future__ import annotations

import sys

from apo_core.system.files import write_private
from flows.services.local_server import HOST
from flows.services.paths import ADMINISTRATOR, Site
from flows.services.processes import Launch
from flows.services.service import PythonServer


class MlflowServer(PythonServer):
    """See `flows.services.service.Service`."""

    name = "mlflow"
    title = "MLflow"
    ports: tuple[str, ...] = ("mlflow",)
    needs: tuple[str, ...] = ("postgres", "s3")

    def prepare(self, site: Site) -> Launch:
        """Write the configuration of its accounts."""
        home = site.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        accounts = home / "accounts.ini"
        write_private(accounts, _accounts(site))
        command = ["-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        command += ["--host", HOST, "--port", str(site.ports["mlflow"])]
        command += ["--artifacts-destination", "s3://mlflow"]
        settings = {
            "MLFLOW_BACKEND_STORE_URI": f"postgresql://{site.database('mlflow')}",
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_AUTH_ADMIN_PASSWORD": site.passwords["mlflow"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": site.passwords["mlflow-cookies"],
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # or it starts ten processes that hold 2.5 GB
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PGPASSFILE": str(site.passwords_of_databases),
        }
        return Launch([sys.executable, *command], home, settings | site.s3_variables)


def _accounts(site: Site) -> str:
    return "\n".join(
        (
            "[mlflow]",
            "default_permission = READ",  # what an account may do with what another one made
            f"database_uri = postgresql://{site.database('mlflow', 'mlflow_accounts')}",
            f"admin_username = {ADMINISTRATOR}",
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
            "",
        )
    )
