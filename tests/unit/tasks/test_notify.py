"""Notifications to a real receiver on loopback: signed, retried, and never the reason that a run fails."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apo_core.errors import ApoError
from tasks.notify import check_secret, notify


class Receiver(HTTPServer):
    """A receiver that keeps all messages, and gives each one the next of its answers."""

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.received = list(answers), []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/hook?key=hidden"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((body, self.headers["X-Apo-Signature"]))
        self.send_response(self.server.answers.pop(0))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("tasks.notify._PAUSES", (0.0, 0.01, 0.01))


@pytest.fixture
def receiving(monkeypatch):
    servers = []

    def start(*answers):
        server = Receiver(answers)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("APO_WEBHOOK_URL", server.address)
        monkeypatch.setenv("APO_WEBHOOK_SECRET", "s3cret")
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(warn=pytest.fail):
    return notify("approval wanted", "m", "version 3 waits", {"run": "http://here"}, warn)


def test_a_message_is_signed(receiving):
    server = receiving(200)
    assert send()
    ((body, header),) = server.received
    assert header == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    message = json.loads(body)
    assert message.pop("time").endswith("+00:00")
    assert message == {
        "occasion": "approval wanted",
        "model": "m",
        "text": "version 3 waits",
        "links": {"run": "http://here"},
    }


def test_it_is_sent_again_until_it_is_taken(receiving):
    server = receiving(503, 500, 204)
    assert send()
    assert len(server.received) == 3


def test_one_that_is_not_taken_is_warned_of_without_the_address(receiving):
    warnings = []
    receiving(403)
    assert not send(warnings.append)
    assert warnings == ["approval wanted: the webhook did not take the message: HTTP status 403"]


@pytest.mark.parametrize("answers", [(503,) * 4, (302,)])
def test_a_busy_receiver_is_asked_four_times_and_a_redirect_is_none(receiving, answers):
    server = receiving(*answers)
    warnings = []
    assert not send(warnings.append)
    assert len(server.received) == len(answers)
    assert len(warnings) == 1


def test_where_nobody_listens_the_address_is_not_logged(monkeypatch, caplog, capfd):
    monkeypatch.setenv("APO_WEBHOOK_URL", "http://127.0.0.1:9/services/hidden")
    monkeypatch.setenv("APO_WEBHOOK_SECRET", "s3cret")
    warnings = []
    with caplog.at_level("INFO"):
        assert not send(warnings.append)
    assert warnings == ["approval wanted: the webhook did not take the message: ConnectionError"]
    captured = capfd.readouterr()
    assert "hidden" not in caplog.text + captured.out + captured.err


def test_without_an_address_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("APO_WEBHOOK_URL", raising=False)
    assert not send()
    check_secret()


def test_without_a_secret_a_run_does_not_begin(monkeypatch):
    monkeypatch.setenv("APO_WEBHOOK_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("APO_WEBHOOK_SECRET", raising=False)
    with pytest.raises(ApoError, match="APO_WEBHOOK_URL is set without APO_WEBHOOK_SECRET"):
        check_secret()
