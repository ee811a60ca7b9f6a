"""MLflow's server: runs and accounts in PostgreSQL, artifacts through it to the object store."""

from __future__ import annotations

from apo_core.system.environment import MLFLOW_SERVER, TELEMETRY, as_env
from apo_core.system.files import write_private
from apo_core.system.loopback import HOST
from apo_core.system.processes import python_module
from flows.services.paths import ADMINISTRATOR, ServicePaths
from flows.services.processes import Launch
from flows.services.service import PythonServer


class MlflowServer(PythonServer):
    """See `flows.services.service.Service`."""

    name = "mlflow"
    title = "MLflow"
    ports: tuple[str, ...] = ("mlflow",)
    needs: tuple[str, ...] = ("postgres", "s3")

    def prepare(self, paths: ServicePaths) -> Launch:
        """Write the configuration of its accounts."""
        home = paths.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        accounts = home / "accounts.ini"
        write_private(accounts, _accounts(paths))
        command = ["server", "--app-name", "basic-auth", "--workers", "1"]
        command += ["--host", HOST, "--port", str(paths.ports["mlflow"])]
        command += ["--artifacts-destination", "s3://mlflow"]
        env = {
            "MLFLOW_BACKEND_STORE_URI": f"postgresql://{paths.database('mlflow')}",
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_AUTH_ADMIN_PASSWORD": paths.passwords["mlflow"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": paths.passwords["mlflow-cookies"],
            **as_env(TELEMETRY, MLFLOW_SERVER),
            "PGPASSFILE": str(paths.passwords_of_databases),
        }
        return Launch(command=python_module("mlflow", *command), directory=home, env=env | paths.s3_variables)


def _accounts(paths: ServicePaths) -> str:
    return "\n".join(
        (
            "[mlflow]",
            "default_permission = READ",  # what an account may do with what another one made
            f"database_uri = postgresql://{paths.database('mlflow', 'mlflow_accounts')}",
            f"admin_username = {ADMINISTRATOR}",
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
            "",
        )
    )
