"""Real services on loopback, by the code of `apo services`; started once for the tests that ask for them."""

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
    """All services, running; this process's environment knows nothing of them."""
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
    """The S3 server alone, running; for tests of S3, which leave no room for others' objects."""
    try:
        program()
    except ApoError as missing:
        pytest.skip(str(missing))
    with temporary_services() as running:
        running.start("s3")
        yield running


@pytest.fixture(scope="session")
def s3_directory(object_store) -> Path:
    """Where it keeps its files."""
    return object_store.paths().home("s3")


@pytest.fixture(scope="session")
def s3_server(object_store) -> dict[str, str]:
    """What its clients have in their environment; there is a bucket `apo`."""
    settings = s3_settings(object_store)
    client = boto3.Session().client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_DEFAULT_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="apo")
    return settings


def s3_settings(running: Services) -> dict[str, str]:
    """The variables of an S3 server's clients, which look for credentials nowhere else."""
    return running.paths().s3_variables | {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A client of that server; this process and those it starts find it too."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    from tasks.storage.s3_client import connect

    return connect("s3://apo")


@pytest.fixture
def client_settings(services, monkeypatch) -> dict[str, str]:
    """What services.env has, also set in this process for one test."""
    settings = services.paths().variables
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers the credentials of an earlier test
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@contextmanager
def temporary_services() -> Iterator[Services]:
    """Services in a new directory, stopped and removed at the end, even if this process is killed."""
    # Not one of pytest's: those are closed to the user that PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="apo-services-"))
    apo = [str(Path(sys.executable).with_name("apo")), "services", "stop", "--directory", str(directory)]
    clean = f"cat; {shlex.join(apo)}; rm -r {shlex.quote(str(directory))}"
    # Its input ends when this process does.
    cleaner = subprocess.Popen(
        ["bash", "-c", clean], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield Services(directory)
    finally:
        cleaner.communicate(timeout=120)
        assert cleaner.returncode == 0
        assert not directory.exists()
