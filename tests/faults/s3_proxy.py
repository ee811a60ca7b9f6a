"""A proxy before an S3 server, which fails as servers and networks do."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

_LARGE = 100_000  # bytes of a body that is not the manifest
_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message>'
    "<RequestId>1</RequestId></Error>"
)
_OF_A_CONNECTION = ("connection", "expect", "transfer-encoding", "content-length")


class Refusal(NamedTuple):
    """What a server answers instead of doing what it is asked for."""

    status: int
    code: str
    message: str


class Request(NamedTuple):
    """A request, as far as a failure depends on it."""

    number: int
    """Of all requests, from 1."""
    seconds: float
    """Since the proxy was started."""
    method: str
    times: int
    """How often this path was asked for by this method, with this one."""


@dataclass(frozen=True)
class Failure:
    """What a proxy does to some requests; to all others nothing."""

    refuses: Callable[[Request], Refusal | None] = lambda request: None
    waits: Callable[[Request], float] = lambda request: 0.0
    """Seconds until the connection is cut, instead of an answer."""
    loses: Callable[[Request], bool] = lambda request: False
    """The request arrives, its answer does not."""
    cuts: Callable[[Request], bool] = lambda request: False
    """Only the first half of the answer's body arrives."""
    flips: bool = False
    """A bit of every large body that is read."""


@dataclass
class _Count:
    begun: float = field(default_factory=time.monotonic)
    paths: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str) -> Request:
        with self.lock:
            self.paths[method, path] += 1
            seconds = time.monotonic() - self.begun
            return Request(self.paths.total(), seconds, method, self.paths[method, path])


@contextmanager
def proxied(target: str, failure: Failure) -> Iterator[str]:
    """The address of a proxy of a server, for the length of the block."""
    host, count = urlsplit(target).netloc, _Count()

    class Handler(_Handler):
        def answer(self) -> None:
            self.pass_on(host, failure, count.next(self.command, self.path))

        do_GET = answer  # noqa: N815
        do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def pass_on(self, host: str, failure: Failure, request: Request) -> None:
        """Answer a request as the server does, or fail."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        refusal, seconds = failure.refuses(request), failure.waits(request)
        if refusal is not None:
            content = _ERROR.format(refusal.code, refusal.message).encode()
            self._send(refusal.status, [("Content-Type", "application/xml")], content, len(content))
            return
        if seconds:
            time.sleep(seconds)
            self.close_connection = True
            return
        answer, content = self._asked(host, body)
        if failure.loses(request):
            self.close_connection = True
            return
        headers = [(name, value) for name, value in answer.getheaders()]
        length = int(answer.getheader("Content-Length") or len(content))
        if request.method == "GET" and failure.cuts(request):
            self._send(answer.status, headers, content[: len(content) // 2], len(content))
            self.close_connection = True
            return
        if request.method == "GET" and failure.flips and len(content) > _LARGE:
            content = content[:-1] + bytes([content[-1] ^ 1])
            headers = [(name, value) for name, value in headers if "checksum" not in name.lower()]
        self._send(answer.status, headers, content, length if request.method == "HEAD" else len(content))

    def _asked(self, host: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """The server's answer. The host that the client has signed stays as it is."""
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer, answer.read()

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
