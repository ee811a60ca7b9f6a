"""Whether a tracking server is answering, asked in seconds."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apo_core.errors import ApoError
from flows.services.watch import answers
from tasks.tracking import store
from tasks.tracking.store import (
    TrackingAway,
    await_server,
    check_schema,
    check_server,
    connect,
    follow_workspace,
    has_registry,
    without_password,
)
from tasks.workspace import Workspace


@contextmanager
def server(status: int):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize(
    ("status", "answering"), [(200, True), (401, True), (404, True), (502, False), (503, False)]
)
def test_whoever_refuses_is_there_and_a_proxy_of_nobody_is_not(monkeypatch, tmp_path, status, answering):
    with server(status) as address:
        assert answers(address) is answering
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        if answering:
            check_server(Workspace(tmp_path))
        else:
            with pytest.raises(ApoError, match="does not answer"):
                check_server(Workspace(tmp_path))


def test_nobody_is_not_there_and_no_address_is_refused(monkeypatch, tmp_path):
    assert not answers("http://127.0.0.1:9/api")
    with pytest.raises(ApoError, match="is no address"):
        answers("myhost/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    with pytest.raises(ApoError, match=r"^MLFLOW_TRACKING_URI: http://127.0.0.1:9 does not answer"):
        check_server(Workspace(tmp_path))
    assert without_password("http://ada:secret@host:1/x/") == "http://host:1/x"


def test_a_server_that_is_started_anew_is_waited_for_and_no_longer(monkeypatch, tmp_path):
    workspace, asked = Workspace(tmp_path), []

    def back_at_the_second_time(_):
        asked.append(1)
        if len(asked) < 2:
            raise ApoError("it does not answer")

    monkeypatch.setattr(store, "check_server", back_at_the_second_time)
    await_server(workspace, seconds=5)
    assert len(asked) == 2
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingAway, match=r"does not answer.*the same command goes on"):
        await_server(workspace, seconds=0)


def test_a_store_that_was_emptied_is_lost_like_one_that_is_gone(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace(tmp_path)
    workspace.state.mkdir()
    file = workspace.state / "mlflow.db"
    file.touch()
    assert not has_registry(workspace)
    check_schema(workspace)
    follow_workspace(workspace)
    file.write_bytes(b"something")
    assert has_registry(workspace)
    with pytest.raises(ApoError, match=r"mlflow\.db: file is not a database"):
        check_schema(workspace)


def test_a_registry_elsewhere_than_the_runs_is_refused(monkeypatch, tmp_path):
    workspace = Workspace(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://ada:secret@host:5000")
    for refused in (check_server, connect):
        with pytest.raises(ApoError, match=r"^MLFLOW_REGISTRY_URI is http://host:5000, and runs"):
            refused(workspace)
    assert not (workspace.state / "mlflow.db").exists()
    with server(200) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}/")
        for same in (address, ""):
            monkeypatch.setenv("MLFLOW_REGISTRY_URI", same)
            check_server(workspace)
