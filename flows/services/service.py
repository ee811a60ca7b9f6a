"""The interface of a service, and what the two Python servers share."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from typing import Protocol

import psutil

from flows.services.paths import ServicePaths
from flows.services.processes import Launch, processes_tagged

# The servers are on this machine, whatever proxy the user's environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Service(Protocol):
    """A server: how it is started, and whether it answers. Its first port has the name of the service."""

    name: str
    title: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]
    stop_signal: signal.Signals

    def prepare(self, paths: ServicePaths) -> Launch:
        """Make the files that the server needs, and return how it is started."""

    def answers(self, paths: ServicePaths) -> bool:
        """Whether the server answers its clients now."""

    def bootstrap(self, paths: ServicePaths) -> None:
        """Make what clients need (roles, databases) and does not exist yet; the server answers already."""

    def orphans(self, paths: ServicePaths) -> list[psutil.Process]:
        """Processes of the service that outlived its main process."""


class PythonServer:
    """A Python server (MLflow, Prefect) with a health page."""

    name = ""
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    health = "/health"
    healthy = b"OK"

    def answers(self, paths: ServicePaths) -> bool:
        """Whether the health page reports that the server is healthy."""
        try:
            with _DIRECT.open(f"{paths.url(self.name)}{self.health}", timeout=5) as answer:
                return bool(answer.read() == self.healthy)
        except (urllib.error.URLError, OSError):
            return False

    def bootstrap(self, paths: ServicePaths) -> None:
        """Nothing to make: the server makes its tables itself."""

    def orphans(self, paths: ServicePaths) -> list[psutil.Process]:
        """Children of the server: some outlive it when it is killed."""
        return processes_tagged(paths.process_tag(self.name))
