"""The addresses that `apo ui` prints."""

import signal

import pytest

from flows.services.pages import page_of, serve
from tasks.workspace import Workspace


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("http://host:4200/api", "http://host:4200"),
        ("https://host/prefect/api/", "https://host/prefect"),
        ("https://trainer:secret@host", "https://host"),
        ("http://host:5000/", "http://host:5000"),
    ],
)
def test_a_page_is_where_people_look(address, page):
    assert page_of(address) == page


@pytest.fixture
def _handlers():
    """Restore this process's signal handlers: `serve` replaces them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_servers_of_ones_own_are_named_and_none_is_started(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_API_URL", "http://host:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    serve(Workspace(tmp_path), experiment="e", prefect_port=1, mlflow_port=2)
    assert capsys.readouterr().out == "Prefect: http://host:4200 (yours)\nMLflow: http://host:5000 (yours)\n"
