"""Errors of the S3 library become one-line errors of one class."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore import exceptions as theirs

from apo_core.errors import ApoError, StageFailed, StageRefused
from tasks.storage.s3_client import bucket_and_key, connect, read_object, translate_s3_errors


def answer(code, message):
    return theirs.ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            answer("NoSuchBucket", "No bucket\nof that name"),
            StageRefused,
            "No bucket of that name (NoSuchBucket)",
        ),
        (answer("404", "Not Found"), StageRefused, "there is no such object, or no such bucket (404)"),
        (answer("403", "Forbidden"), StageRefused, "wrong credentials, or no permission (403)"),
        (answer("SlowDown", "Later"), StageFailed, "Later (SlowDown)"),
        (
            answer("500", None),
            StageFailed,
            "An error occurred (500) when calling the GetObject operation: None (500)",
        ),
        (theirs.NoCredentialsError(), StageRefused, "Unable to locate credentials"),
        (theirs.ParamValidationError(report="a\nb"), StageRefused, "Parameter validation failed: a b"),
        (
            theirs.EndpointConnectionError(endpoint_url="http://x", error="?"),
            StageFailed,
            'Could not connect to the endpoint URL: "http://x"',
        ),
        (
            RecursionError(),
            StageRefused,
            "the server answers every request by a redirection (301); is AWS_ENDPOINT_URL the address of the "
            "bucket's region?",
        ),
    ],
)
def test_an_error_is_one_line_with_the_address(error, kind, said):
    with pytest.raises(kind) as raised, translate_s3_errors("s3://b/k"):
        raise error
    assert type(raised.value) is kind
    assert str(raised.value) == f"s3://b/k: {said}"


@pytest.fixture
def aws(monkeypatch):
    for name, value in {
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("RETRY_MODE", "MAX_ATTEMPTS", "ENDPOINT_URL", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    return monkeypatch


def test_a_client_tries_again_unless_the_environment_says_how(aws):
    assert connect("s3://b/k").meta.config.retries == {"mode": "standard", "total_max_attempts": 6}
    aws.setenv("AWS_RETRY_MODE", "adaptive")
    aws.setenv("AWS_MAX_ATTEMPTS", "2")
    assert connect("s3://b/k").meta.config.retries == {"mode": "adaptive", "total_max_attempts": 2}


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("AWS_ENDPOINT_URL", "Invalid endpoint: nonsense"),
        ("AWS_MAX_ATTEMPTS", "invalid literal for int"),
        ("AWS_RETRY_MODE", "nonsense"),
        ("AWS_PROFILE", "The config profile (nonsense) could not be found"),
    ],
)
def test_an_environment_that_makes_no_client_is_refused(aws, variable, said):
    aws.setenv(variable, "nonsense")
    with pytest.raises(StageRefused) as raised:
        connect("s3://b/k")
    assert str(raised.value).startswith("s3://b/k: ")
    assert said in str(raised.value)


def test_an_address_that_is_none_is_refused():
    assert bucket_and_key("s3://b/k/l") == ("b", "k/l")
    with pytest.raises(ApoError, match=r"'s3://b' is not of the form s3://bucket/key"):
        bucket_and_key("s3://b")


@contextmanager
def server_of(body: bytes, broken: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers with a body, which breaks off so often; yields its address and the requests."""
    requests = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if len(requests) <= broken else body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", requests
        http.shutdown()


def test_a_body_that_breaks_off_is_asked_for_again(aws):
    with server_of(b"manifest" * 100, broken=2) as (address, requests):
        aws.setenv("AWS_ENDPOINT_URL", address)
        assert read_object(connect("s3://b/k"), "b", "k") == b"manifest" * 100
        assert len(requests) == 3
    aws.setenv("AWS_MAX_ATTEMPTS", "2")
    with server_of(b"manifest" * 100, broken=9) as (address, requests):
        aws.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StageFailed), translate_s3_errors("s3://b/k"):
            read_object(connect("s3://b/k"), "b", "k")
        assert len(requests) == 2
