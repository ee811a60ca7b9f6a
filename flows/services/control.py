"""Starting, stopping and looking at the services of one directory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apo_core.errors import ApoError
from apo_core.system.files import read_json, write_json
from apo_core.system.ports import is_free, lasting_ports
from flows.services.local_server import HOST
from flows.services.mlflow_server import MlflowServer
from flows.services.object_store import ObjectStore
from flows.services.paths import Site, alone, passwords_in
from flows.services.postgres import Postgres
from flows.services.prefect_server import PrefectServer
from flows.services.processes import Launch, Started, end, kill, launch, process_of
from flows.services.service import Service

# Each after those that it needs.
SERVICES: dict[str, Service] = {
    service.name: service for service in (Postgres(), ObjectStore(), MlflowServer(), PrefectServer())
}
_READY_SECONDS = 120
_STOP_SECONDS = 20
_DYING_SECONDS = 1


@dataclass(frozen=True)
class Status:
    """A service as it is now; its process is None where it does not run."""

    service: Service
    address: str
    process: int | None
    answers: bool


class Services:
    """The services below a directory. They outlive this process; what is recorded there says which they are.

    Every method takes names of services, none for all.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory.resolve()

    def start(self, *names: str, ports: Mapping[str, int] | None = None) -> list[Status]:
        """Start what does not run, with what it needs, and return when all of it answers.

        Ports are chosen the first time and kept; `ports` names others.

        Raises:
            ApoError: a program is not installed, a port is taken, or a service does not come up.
        """
        if sys.platform != "linux":
            raise ApoError("the services of apo are for Linux; use servers of your own")
        wanted = _with_needs(_chosen(names))
        # PostgreSQL may run as another user, who has to pass through.
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (self.root / "logs").mkdir(mode=0o700, exist_ok=True)
        with alone(self.root):
            self._choose_ports(ports or {})
            site = self.site()
            site.write_files()
            launches = self._prepare([service for service in wanted if not self._stays(service, site)], site)
            for level in _levels(wanted):
                self._bring_up(level, launches, site)
        return self.status(*(service.name for service in wanted))

    def stop(self, *names: str) -> list[Service]:
        """End what was started here, and nothing else; those that ran."""
        chosen, ended = _chosen(names), []
        if not self._state_file.exists():
            return []
        with alone(self.root):
            site = self.site()
            for level in reversed(_levels(chosen)):
                ended += self._end(level, site)
        return ended

    def status(self, *names: str) -> list[Status]:
        """How the services are; none is started."""
        chosen = _chosen(names)
        if not self._state_file.exists():
            return [Status(service, "", None, answers=False) for service in chosen]
        site, found = self.site(), []
        for service in chosen:
            process = process_of(self._recorded(service), site.mark(service.name))
            number = None if process is None else process.pid
            address = f"{HOST}:{site.ports[service.name]}"
            found.append(Status(service, address, number, number is not None and service.answers(site)))
        return found

    def site(self) -> Site:
        """Paths, ports and passwords."""
        return Site(self.root, self._state()["ports"], passwords_in(self.root))

    @property
    def _state_file(self) -> Path:
        return self.root / "state.json"

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"ports": {}, "processes": {}}
        return read_json(self._state_file) if self._state_file.exists() else state

    def _recorded(self, service: Service) -> Started | None:
        found = self._state()["processes"].get(service.name)
        return None if found is None else Started(**found)

    def _record(self, service: Service, started: Started | None) -> None:
        state = self._state()
        state["processes"].pop(service.name, None)
        if started is not None:
            state["processes"][service.name] = asdict(started)
        write_json(self._state_file, state)

    def _runs(self, service: Service) -> bool:
        return process_of(self._recorded(service), self.site().mark(service.name)) is not None

    def _stays(self, service: Service, site: Site) -> bool:
        """Whether it runs, and not only because it was killed a moment ago."""
        if self._runs(service) and not service.answers(site):
            time.sleep(_DYING_SECONDS)
        return self._runs(service)

    def _choose_ports(self, asked: Mapping[str, int]) -> None:
        state = self._state()
        names = [name for service in SERVICES.values() for name in service.ports]
        fresh = dict(zip(names, lasting_ports(len(names)), strict=True))
        _chosen(asked)
        ports: dict[str, int] = fresh | state["ports"] | dict(asked)
        if len(set(ports.values())) < len(ports):
            raise ApoError("two services cannot have the same port")
        if ports != state["ports"]:
            if running := [service.title for service in SERVICES.values() if self._runs(service)]:
                raise ApoError(f"stop {' and '.join(running)} before ports change: apo services stop")
            write_json(self._state_file, state | {"ports": ports})

    def _prepare(self, services: list[Service], site: Site) -> dict[str, Launch]:
        """What can be refused is, before anything is started."""
        for service in services:
            kill(service.leftovers(site))  # or they hold its port
            for name in service.ports:
                if not _becomes_free(site.ports[name]):
                    # Its inner ports are part of what an object store remembers.
                    other = f"choose another: apo services start --port {name}=PORT"
                    remedy = other if name == service.name else "end what holds it"
                    raise ApoError(f"{service.title}: port {site.ports[name]} on {HOST} is taken; {remedy}")
        return {service.name: service.prepare(site) for service in services}

    def _bring_up(self, level: list[Service], launches: dict[str, Launch], site: Site) -> None:
        """All at once: none of them needs another."""
        for service in level:
            if service.name in launches:
                how, name = launches[service.name], service.name
                self._record(service, launch(how, site.log(name), site.mark(name)))
        for service in level:
            self._wait(service, site)

    def _wait(self, service: Service, site: Site) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not service.answers(site):
            if not self._runs(service) or time.monotonic() > deadline:
                raise ApoError(f"{service.title} did not start; see {site.log(service.name)}")
            time.sleep(0.1)
        service.complete(site)

    def _end(self, level: list[Service], site: Site) -> list[Service]:
        found = [(one, process_of(self._recorded(one), site.mark(one.name))) for one in level]
        end([(process, one.stop_signal) for one, process in found if process is not None], _STOP_SECONDS)
        ended = []
        for service, process in found:
            left = service.leftovers(site)
            kill(left)
            self._record(service, None)
            if process is not None or left:
                ended.append(service)
        return ended


def _chosen(names: Iterable[str]) -> list[Service]:
    """Services by name, in the order in which they are started.

    Raises:
        ApoError: there is no such service.
    """
    names = list(names)
    for name in names:
        if name not in SERVICES:
            raise ApoError(f"unknown service {name!r}; there are {', '.join(SERVICES)}")
    return [service for name, service in SERVICES.items() if not names or name in names]


def _becomes_free(port: int) -> bool:
    """Whether a port is free, or is about to be: the threads of a process that was killed end after it."""
    deadline = time.monotonic() + _DYING_SECONDS
    while not (free := is_free(port)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return free


def _levels(services: list[Service]) -> tuple[list[Service], list[Service]]:
    """Those that need no other, and those that do."""
    return [one for one in services if not one.needs], [one for one in services if one.needs]


def _with_needs(services: list[Service]) -> list[Service]:
    names = {name for service in services for name in (service.name, *service.needs)}
    return _chosen(names)
