"""What a run tells a webhook: a failure in one line, then the outcome and that an approval is wanted."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import execute


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received = []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_failure_and_an_approval_that_is_wanted_are_told(workspace, receiver):
    settings = {
        "APO_WEBHOOK_URL": f"http://127.0.0.1:{receiver.server_port}",
        "APO_WEBHOOK_SECRET": "shared",
    }
    full = "apo run --set train.checkpoint.min_free_mib=100000000"
    assert execute(full, workspace, check=False, settings=settings).returncode == 2
    (failure,) = receiver.received
    assert (failure["occasion"], failure["model"]) == ("failure", "apo-ci")
    assert "a checkpoint needs 100000" in failure["text"] and "\n" not in failure["text"]
    assert "/runs/flow-run/" in failure["links"]["run"]

    receiver.received.clear()
    again = "apo run --set train.checkpoint.min_free_mib=256 --set promotion.approval=manual"
    output = execute(again, workspace, settings=settings).stdout
    assert "wanted: apo approve apo-ci 1 --by" in output.replace("\n", " ")
    outcome, wanted = receiver.received
    assert (outcome["occasion"], wanted["occasion"]) == ("outcome", "approval wanted")
    assert outcome["text"].startswith("promote: better than the reference")
    assert "apo approve apo-ci 1" in wanted["text"]
