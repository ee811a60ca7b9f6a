"""A webhook receiver on loopback that accepts signed messages only, as docs/operations.md describes."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "canary-of-the-webhook-a5c1"
PATH = "canary-of-its-path-77f0"


class Receiver(ThreadingHTTPServer):
    """Keeps the signed messages, and counts those with a wrong signature."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received, self.forged = [], 0
        self.refused = ""  # an occasion whose messages the receiver rejects

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of a sender."""
        return {
            "APO_WEBHOOK_URL": f"http://127.0.0.1:{self.server_port}/{PATH}",
            "APO_WEBHOOK_SECRET": SECRET,
        }


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(expected, self.headers.get("X-Apo-Signature", ""))
        accepted = json.loads(body)["occasion"] != self.server.refused
        if not genuine:
            self.server.forged += 1
        elif accepted:
            self.server.received.append(json.loads(body))
        self.send_response(204 if genuine and accepted else 403)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver within the block."""
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
        assert server.forged == 0
