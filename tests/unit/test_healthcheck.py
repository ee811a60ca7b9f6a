"""The images' healthcheck, which looks at the process the container runs, whatever started it."""

import importlib.util
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from builders import ROOT

from apo_core.system.loopback import free_port

FILE = ROOT / "docker/healthcheck.py"


@pytest.fixture(scope="module")
def healthcheck():
    spec = importlib.util.spec_from_file_location("healthcheck", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("tini -g -- prefect worker start --pool=apo", "http://127.0.0.1:8080/health"),
        ("/opt/apo/bin/python /opt/apo/bin/prefect server start", "http://127.0.0.1:4200/api/ready"),
        ("/usr/bin/tini -g -- mlflow server --port=5000", "http://127.0.0.1:5000/health"),
        ("tini -g -- apo run --workspace prefect", None),
        ("tini -g -- prefect flow-run execute", None),
    ],
)
def test_what_is_asked_is_what_the_first_process_runs(healthcheck, command, address):
    assert healthcheck.address_of(command.split()) == address


@pytest.mark.parametrize(("status", "problem"), [(200, None), (503, "503 not now")])
def test_an_answer_other_than_well_is_the_problem(healthcheck, status, problem):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"not now")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/health"
        assert healthcheck.problem_at(address) == (problem and f"{address}: {problem}")


@pytest.mark.parametrize(
    ("devices", "asked"), [("all", True), ("GPU-1234", True), ("void", False), ("none", False), ("", False)]
)
def test_the_driver_is_asked_where_there_are_gpus(healthcheck, monkeypatch, devices, asked):
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", devices)
    assert healthcheck.has_gpus() is asked
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES")
    assert not healthcheck.has_gpus()


def test_no_answer_is_a_problem_too(healthcheck):
    address = f"http://127.0.0.1:{free_port()}/health"
    assert healthcheck.problem_at(address).startswith(f"{address}: ")
