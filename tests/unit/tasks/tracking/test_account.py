"""Whose account a tracking server takes this process's requests for."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from apo_core.errors import ApoError
from tasks.tracking.account import current_account


@contextmanager
def server(status, answer):
    """A server that gives one answer to everything; yields its address and what was requested."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", requests
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def test_the_servers_word_counts_and_not_the_variable(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    user = {"user": {"id": 2, "username": "ada", "is_admin": False}, "is_basic_auth": True}
    with server(200, json.dumps(user)) as (address, requests):
        assert current_account(address) == "ada"
    ((path, credentials),) = requests
    assert path == "/api/2.0/mlflow/users/current" and credentials.startswith("Basic ")


def test_where_there_are_no_accounts_there_is_none(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")  # a proxy's
    with server(404, "Not Found") as (address, _):
        assert current_account(address) is None
    assert current_account("sqlite:////nowhere/mlflow.db") is None


def test_a_server_that_refuses_is_an_error_and_not_a_server_without_accounts():
    with server(401, "You are not authenticated.") as (address, _), pytest.raises(ApoError, match="401"):
        current_account(address)
