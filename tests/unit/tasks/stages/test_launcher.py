"""The command line of DeepSpeed's launcher; tests/integration runs real ranks."""

import base64
import json
import sys

import pytest

from apo_core.config.file import load_params
from apo_core.errors import InputError
from tasks.stages.launcher import become_launcher, launch_command

RANK = [sys.executable, "-P", "-m", "tasks", "train", "rank"]


def world(command):
    (text,) = [part.removeprefix("--world_info=") for part in command if part.startswith("--world_info=")]
    return json.loads(base64.urlsafe_b64decode(text))


@pytest.mark.parametrize(
    ("seen", "devices"),
    [(None, ["0", "1"]), ("4, 5,6", ["4", "5"]), ("4", ["0", "1"]), ("GPU-1f,GPU-2e", ["GPU-1f", "GPU-2e"])],
)
def test_ranks_take_the_gpus_that_this_run_may_use(monkeypatch, seen, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    command = launch_command(2, None)
    assert world(command) == {"localhost": devices}
    assert command[-len(RANK) :] == RANK


def test_a_hostfile_is_given_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = launch_command(4, "hosts")
    assert command[command.index("--hostfile") + 1] == str(tmp_path / "hosts")
    assert command[-len(RANK) :] == RANK


def test_a_hostfile_that_is_not_there_is_refused(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    train = load_params(root / "presets/embedded.yaml").train.model_copy(
        update={"ranks": 2, "hostfile": "hosts"}
    )
    with pytest.raises(InputError, match=r"^hosts: train\.hostfile: no such file$"):
        become_launcher(train)
