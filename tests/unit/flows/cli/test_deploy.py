"""What `apo deploy` refuses before Prefect is asked."""

import subprocess

import pytest

from apo_core.errors import ApoError, InputError
from flows.cli.deploy import deploy
from tasks.git import path_in_repository
from tasks.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, root, monkeypatch):
    """A workspace below the root of its repository."""
    nested = Workspace(tmp_path / "models/sums")
    nested.root.mkdir(parents=True)
    (nested.root / "prefect.yaml").write_text((root / "prefect.yaml").read_text())
    for name in ("MODEL", "REPOSITORY", "BRANCH", "WORKSPACE", "WORK_POOL"):
        monkeypatch.setenv(f"APO_{name}", name.lower())
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    return nested


@pytest.mark.parametrize("missing", [("APO_MODEL",), ("APO_BRANCH", "APO_WORK_POOL"), ("PREFECT_API_URL",)])
@pytest.mark.parametrize("empty", [False, True])
def test_what_is_not_set_is_named_and_nothing_is_deployed(workspace, monkeypatch, missing, empty):
    for name in missing:
        monkeypatch.setenv(name, "")
        if not empty:
            monkeypatch.delenv(name)
    with pytest.raises(ApoError, match=rf"not set: {', '.join(missing)}; nothing is deployed"):
        deploy(workspace)


def test_there_has_to_be_something_to_deploy(tmp_path):
    with pytest.raises(InputError, match=r"prefect\.yaml: no such file"):
        deploy(Workspace(tmp_path))


@pytest.mark.parametrize("named", [".", "sums", "models"])
def test_runs_that_would_not_find_the_workspace_are_not_deployed(workspace, tmp_path, monkeypatch, named):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.setenv("APO_WORKSPACE", named)
    with pytest.raises(ApoError) as refused:
        deploy(workspace)
    assert str(refused.value) == (
        f"APO_WORKSPACE is {named}, and the workspace lies at models/sums below its repository's root; "
        "nothing is deployed"
    )


@pytest.mark.parametrize("named", ["models/sums", "./models/sums/"])
def test_where_it_lies_is_no_reason_to_refuse(workspace, tmp_path, monkeypatch, named):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.setenv("APO_WORKSPACE", named)
    monkeypatch.setattr("sys.executable", "false")  # in the place of Prefect, which takes seconds to refuse
    with pytest.raises(ApoError, match=r"^Prefect did not deploy"):
        deploy(workspace)


def test_where_a_workspace_lies(workspace, tmp_path):
    assert path_in_repository(tmp_path) is None
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert path_in_repository(tmp_path) == "."
    assert path_in_repository(workspace.root) == "models/sums"
