"""A workspace of two stages that DVC has run."""

import shutil
import subprocess

import pytest

from tasks.dvc.run import dvc_command
from tasks.workspace import Workspace

DVC_YAML = """
stages:
  train:
    cmd: mkdir -p data/policy/sub && echo '{}' > data/policy/config.json && echo w > data/policy/sub/weights
    outs: [data/policy]
  evaluate:
    cmd: echo good > data/evaluations.parquet
    deps: [data/policy]
    outs: [data/evaluations.parquet]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("integrity") / "workspace"
    (directory / "data").mkdir(parents=True)
    (directory / "dvc.yaml").write_text(DVC_YAML)
    for arguments in (["init", "--quiet", "--no-scm"], ["repro", "--quiet"]):
        subprocess.run([*dvc_command(), *arguments], cwd=directory, check=True)
    return directory


@pytest.fixture
def workspace(made, tmp_path):
    return Workspace(shutil.copytree(made, tmp_path / "workspace"))
