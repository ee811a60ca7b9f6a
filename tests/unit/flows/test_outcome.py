"""Who is notified of a candidate that waits, while one server or another is away."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.outcome import request_approval
from tasks.reporting.summary import ApprovalBlock, DecisionBlock, ModelBlock, Summary
from tasks.tracking.store import connect
from tasks.workspace import Workspace

NOWHERE = "http://127.0.0.1:9"
MODEL = "apo-outcome"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.received, server.answer = [], 204
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("APO_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("APO_WEBHOOK_SECRET", "known-to-both")
        yield server
        server.shutdown()


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow_client = connect(Workspace(tmp_path))
    mlflow_client.create_registered_model(MODEL)
    mlflow_client.create_model_version(MODEL, "runs:/x", run_id=mlflow_client.create_run("0").info.run_id)
    return mlflow_client


@pytest.fixture(autouse=True)
def _no_prefect_server():
    with disable_run_logger(), temporary_settings({PREFECT_API_URL: f"{NOWHERE}/api"}):
        yield


def candidate(since="noon", *, waits=True):
    return Summary.model_construct(
        model=ModelBlock(name=MODEL, version="1", aliases=["candidate"]),
        decision=DecisionBlock(outcome="promote", reason="better"),
        approval=ApprovalBlock(event="candidate", by="Ada", reason="better", time=since, waits=waits),
    )


@pytest.mark.slow
def test_the_message_of_a_candidate_is_sent_until_it_arrives_and_then_no_more(client, receiver):
    receiver.answer = 403
    request_approval(client, candidate())
    receiver.answer = 204
    for _ in range(2):
        request_approval(client, candidate())
    lost, message = receiver.received
    assert lost["occasion"] == message["occasion"] == "approval wanted"
    assert f"apo approve {MODEL} 1 --by NAME --reason WHY" in message["text"]
    request_approval(client, candidate("midnight"))  # the same version, proposed again
    assert len(receiver.received) == 3


@pytest.mark.slow
def test_no_message_is_sent_of_a_version_that_waits_no_more(client, receiver):
    request_approval(client, candidate(waits=False))
    request_approval(client, candidate().model_copy(update={"approval": None}))
    assert receiver.received == []


@pytest.mark.slow
def test_a_registry_that_refuses_fails_no_run(client, receiver):
    client.delete_model_version(MODEL, "1")
    request_approval(client, candidate())
    assert receiver.received == []
