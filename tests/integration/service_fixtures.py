"""Real services on loopback, started by the code of `apo services`, once for all tests that use them."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from apo_core.errors import ApoError
from flows.services import postgres
from flows.services.control import Services
from flows.services.object_store import program


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """All services, running. Their variables are not set in this process."""
    try:
        postgres.programs()
        program()
    except ApoError as missing:
        pytest.skip(str(missing))
    with temporary_services() as running:
        running.start()
        yield running


@pytest.fixture(scope="session")
def object_store() -> Iterator[Services]:
    """The S3 server without the other services: tests of S3 need a server that holds only their objects."""
    try:
        program()
    except ApoError as missing:
        pytest.skip(str(missing))
    with temporary_services() as running:
        running.start("s3")
        yield running


@pytest.fixture(scope="session")
def s3_directory(object_store) -> Path:
    """The directory in which the S3 server keeps its files."""
    return object_store.paths().home("s3")


@pytest.fixture(scope="session")
def s3_server(object_store) -> dict[str, str]:
    """The environment variables of the S3 server's clients, once bucket `apo` is created."""
    env = s3_env(object_store)
    client = boto3.Session().client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_DEFAULT_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="apo")
    return env


def s3_env(running: Services) -> dict[str, str]:
    """The environment variables of an S3 server's clients; no other source of credentials is tried."""
    return running.paths().s3_variables | {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A client of the S3 server. For one test, this process and its children have the server's variables."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    from tasks.storage.s3_client import connect

    return connect("s3://apo")


@pytest.fixture
def client_env(services, monkeypatch) -> dict[str, str]:
    """The variables of services.env, set in this process for one test."""
    env = services.paths().variables
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # the session keeps the credentials of an earlier test
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


@contextmanager
def temporary_services() -> Iterator[Services]:
    """Services in a new directory, stopped and deleted at the end, even if this process is killed."""
    # Not a tmp_path of pytest's: the user that PostgreSQL runs as cannot read those directories.
    directory = Path(tempfile.mkdtemp(prefix="apo-services-"))
    apo = [str(Path(sys.executable).with_name("apo")), "services", "stop", "--directory", str(directory)]
    clean = f"cat; {shlex.join(apo)}; rm -r {shlex.quote(str(directory))}"
    # `cat` ends when this process does, and the cleaning begins.
    cleaner = subprocess.Popen(
        ["bash", "-c", clean], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield Services(directory)
    finally:
        cleaner.communicate(timeout=120)
        assert cleaner.returncode == 0
        assert not directory.exists()
