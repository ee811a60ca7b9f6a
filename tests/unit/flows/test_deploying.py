"""`apo deploy` before Prefect is asked: what `prefect.yaml` takes from the environment has to be there."""

import re

import pytest

from apo_core.errors import ApoError, InputError
from flows.deploy import deploy
from tasks.workspace import Workspace

SERVER = "http://127.0.0.1:9/api"  # where nobody listens: whoever asks it fails in another way


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "prefect.yaml").write_text(
        "deployments: [{name: '{{ $APO_MODEL }}', parameters: {place: '{{$APO_WORKSPACE}}'}}]\n"
    )
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "APO_MODEL, APO_WORKSPACE, PREFECT_API_URL"),
        ({"APO_MODEL": "", "APO_WORKSPACE": ".", "PREFECT_API_URL": SERVER}, "APO_MODEL"),
        ({"APO_MODEL": "m", "APO_WORKSPACE": "."}, "PREFECT_API_URL"),
    ],
)
def test_what_is_not_set_is_named(workspace, monkeypatch, given, missing):
    for name in ("APO_MODEL", "APO_WORKSPACE", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ApoError, match=re.escape(f"not set: {missing}; nothing is deployed")):
        deploy(workspace)


def test_there_has_to_be_something_to_deploy(tmp_path):
    with pytest.raises(InputError, match=r"prefect\.yaml: no such file"):
        deploy(Workspace(tmp_path))
