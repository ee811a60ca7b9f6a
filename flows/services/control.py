"""Starting, stopping and looking at the services of one directory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from apo_core.errors import ApoError
from apo_core.system.files import read_json, write_json
from apo_core.system.loopback import HOST, is_free, lasting_ports
from flows.services.mlflow_server import MlflowServer
from flows.services.object_store import INSTALL, ObjectStore
from flows.services.paths import ServicePaths, lock, passwords_in
from flows.services.postgres import Postgres
from flows.services.prefect_server import PrefectServer
from flows.services.processes import Launch, Started, end, kill, launch, process_of
from flows.services.service import Service

# Each after those that it needs.
SERVICES: dict[str, Service] = {
    service.name: service for service in (Postgres(), ObjectStore(), MlflowServer(), PrefectServer())
}
# Modules of the extra `services` that the servers or their clients import.
_PACKAGES = {"psycopg2": "psycopg2-binary", "flask_wtf": "mlflow[auth]"}
_READY_SECONDS = 120
_STOP_SECONDS = 20
_DYING_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Status:
    """State of a service; `process` is None where it does not run."""

    service: Service
    address: str
    process: int | None
    answers: bool


class Services:
    """The services below a directory. They outlive this process; `state.json` there records their processes.

    Every method takes names of services; without any it means all of them.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory.resolve()

    def start(self, *names: str, ports: Mapping[str, int] | None = None) -> list[Status]:
        """Start services that do not run, those they need included; return when all of them answer.

        Ports are chosen the first time and kept; `ports` names others.

        Raises:
            ApoError: a program is not installed, a port is taken, or a service does not come up.
        """
        if sys.platform != "linux":
            raise ApoError("the services of apo are for Linux; use servers of your own")
        refuse_missing_packages()
        services = _with_needs(_chosen(names))
        # PostgreSQL may run as another user, who has to pass through.
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (self.root / "logs").mkdir(mode=0o700, exist_ok=True)
        with lock(self.root):
            self._choose_ports(ports or {})
            paths = self.paths()
            paths.write_files()
            stopped = [service for service in services if not self._keeps_running(service, paths)]
            launches = self._prepare(stopped, paths)
            for level in _levels(services):
                self._bring_up(level, launches, paths)
        return self.status(*(service.name for service in services))

    def stop(self, *names: str) -> list[Service]:
        """End services that were started here, and no others.

        Returns:
            The services that ran.
        """
        chosen, ended = _chosen(names), []
        if not self._state_file.exists():
            return []
        with lock(self.root):
            paths = self.paths()
            for level in reversed(_levels(chosen)):
                ended += self._end(level, paths)
        return ended

    def status(self, *names: str) -> list[Status]:
        """Report on the services without starting any."""
        chosen = _chosen(names)
        if not self._state_file.exists():
            return [Status(service=service, address="", process=None, answers=False) for service in chosen]
        paths, statuses = self.paths(), []
        for service in chosen:
            process = self._process(service, paths)
            number = None if process is None else process.pid
            address = f"{HOST}:{paths.ports[service.name]}"
            answers = number is not None and service.answers(paths)
            statuses.append(Status(service=service, address=address, process=number, answers=answers))
        return statuses

    def paths(self) -> ServicePaths:
        """Directories, ports and passwords."""
        return ServicePaths(root=self.root, ports=self._state()["ports"], passwords=passwords_in(self.root))

    @property
    def _state_file(self) -> Path:
        return self.root / "state.json"

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"ports": {}, "processes": {}}
        return read_json(self._state_file) if self._state_file.exists() else state

    def _recorded(self, service: Service) -> Started | None:
        record = self._state()["processes"].get(service.name)
        # Without a start time, as earlier versions wrote it, the process counts as an orphan.
        return None if record is None else Started(record["pid"], record.get("start_time", ""))

    def _record(self, service: Service, started: Started | None) -> None:
        state = self._state()
        state["processes"].pop(service.name, None)
        if started is not None:
            state["processes"][service.name] = asdict(started)
        write_json(self._state_file, state)

    def _process(self, service: Service, paths: ServicePaths) -> psutil.Process | None:
        return process_of(self._recorded(service), paths.process_tag(service.name))

    def _runs(self, service: Service) -> bool:
        return self._process(service, self.paths()) is not None

    def _keeps_running(self, service: Service, paths: ServicePaths) -> bool:
        """Whether a service runs, and not only because it was killed a moment ago."""
        if self._runs(service) and not service.answers(paths):
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

    def _prepare(self, services: list[Service], paths: ServicePaths) -> dict[str, Launch]:
        """Prepare the launch of each service; refuse what can be refused before any is started."""
        for service in services:
            kill(service.orphans(paths))  # or they hold its port
            for name in service.ports:
                if not _becomes_free(paths.ports[name]):
                    # Its inner ports are part of what an object store remembers.
                    other = f"choose another: apo services start --port {name}=PORT"
                    remedy = other if name == service.name else "end what holds it"
                    raise ApoError(f"{service.title}: port {paths.ports[name]} on {HOST} is taken; {remedy}")
        return {service.name: service.prepare(paths) for service in services}

    def _bring_up(self, level: list[Service], launches: dict[str, Launch], paths: ServicePaths) -> None:
        """Start services of which none needs another, all at once."""
        for service in level:
            if service.name in launches:
                how, name = launches[service.name], service.name
                self._record(service, launch(how, paths.log(name), paths.process_tag(name)))
        for service in level:
            self._wait(service, paths)

    def _wait(self, service: Service, paths: ServicePaths) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not service.answers(paths):
            if not self._runs(service) or time.monotonic() > deadline:
                raise ApoError(f"{service.title} did not start; see {paths.log(service.name)}")
            time.sleep(0.1)
        service.bootstrap(paths)

    def _end(self, level: list[Service], paths: ServicePaths) -> list[Service]:
        running = [(service, self._process(service, paths)) for service in level]
        end([(process, service.stop_signal) for service, process in running if process], _STOP_SECONDS)
        ended = []
        for service, process in running:
            left = service.orphans(paths)
            kill(left)
            self._record(service, None)
            if process is not None or left:
                ended.append(service)
        return ended


def refuse_missing_packages() -> None:
    """Refuse to go on without the packages of the extra `services`.

    Raises:
        ApoError: one is not installed; says how to install it.
    """
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise ApoError(f"{package} is not installed: {INSTALL}")


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
    """Services that need no other, and services that do."""
    independent = [service for service in services if not service.needs]
    return independent, [service for service in services if service.needs]


def _with_needs(services: list[Service]) -> list[Service]:
    names = {name for service in services for name in (service.name, *service.needs)}
    return _chosen(names)
