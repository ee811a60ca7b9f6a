"""Real services on loopback, by the code of `apo services`; started once for the tests that ask for them."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apo_core.errors import ApoError
from flows.services import object_store, postgres
from flows.services.control import Services


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """All services, running; this process's environment knows nothing of them."""
    try:
        postgres.programs()
        object_store.program()
    except ApoError as missing:
        pytest.skip(str(missing))
    with temporary_services() as running:
        running.start()
        yield running


@pytest.fixture
def client_settings(services, monkeypatch) -> dict[str, str]:
    """What services.env has, also set in this process for one test."""
    settings = services.site().variables
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
