"""What every service can do."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from typing import Protocol

import psutil

from flows.services.paths import Site
from flows.services.processes import Launch, marked

# The servers are on this machine, whatever proxy the user's environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Service(Protocol):
    """A server, told how to start and asked whether it answers. The first of its ports is its own name's."""

    name: str
    title: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]
    stop_signal: signal.Signals

    def prepare(self, site: Site) -> Launch:
        """Make what it needs on the disk, and say how it is started."""

    def answers(self, site: Site) -> bool:
        """Whether it does what its clients want of it, now."""

    def complete(self, site: Site) -> None:
        """Make in it what its clients need, where it is not there yet; it answers already."""

    def leftovers(self, site: Site) -> list[psutil.Process]:
        """What of it still runs when its own process has ended."""


class PythonServer:
    """What the two servers have in common that are Python programs with a page for their health."""

    name = ""
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    health = "/health"
    healthy = b"OK"

    def answers(self, site: Site) -> bool:
        """Whether its health page says so."""
        try:
            with _DIRECT.open(f"{site.url(self.name)}{self.health}", timeout=5) as answer:
                return bool(answer.read() == self.healthy)
        except (urllib.error.URLError, OSError):
            return False

    def complete(self, site: Site) -> None:
        """It has made its tables by itself."""

    def leftovers(self, site: Site) -> list[psutil.Process]:
        """Its children: some outlive it when it is killed."""
        return marked(site.mark(self.name))
