"""Prefect's server on PostgreSQL."""

from __future__ import annotations

from apo_core.system.environment import TELEMETRY, as_env, prefect_home
from flows.services.local_server import prefect_command
from flows.services.paths import ServicePaths
from flows.services.processes import Launch
from flows.services.service import PythonServer


class PrefectServer(PythonServer):
    """See `flows.services.service.Service`."""

    name = "prefect"
    title = "Prefect"
    ports: tuple[str, ...] = ("prefect",)
    needs: tuple[str, ...] = ("postgres",)
    health = "/api/health"
    healthy = b"true"

    def prepare(self, paths: ServicePaths) -> Launch:
        """Make its home."""
        home = paths.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        env = {
            **as_env(TELEMETRY),
            **prefect_home(home),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{paths.database('prefect')}",
            # The page would look for its API at the default port, whatever port it came from.
            "PREFECT_SERVER_UI_API_URL": f"{paths.url('prefect')}/api",
            "PGPASSFILE": str(paths.passwords_of_databases),
        }
        return Launch(command=prefect_command(paths.ports["prefect"]), directory=home, env=env)
