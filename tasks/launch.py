"""DeepSpeed's launcher in the place of a stage's process, where the stage trains on many ranks."""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
from pathlib import Path

from apo_core import config

_MODULE = ["--no_local_rank", "--module", "tasks", "train"]


def is_rank() -> bool:
    """Whether this process is one that a launcher has started."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Whether this process writes for all ranks."""
    return os.environ.get("RANK", "0") == "0"


def become_launcher(train: config.Train) -> None:
    """Replace this process by the launcher, which starts `python -m tasks train` once a rank."""
    # Ranks on one machine share its cores; the launcher leaves this to us.
    local = train.ranks if train.hostfile is None else 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // local)))
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # alone the launcher guesses and warns
    command = launch_command(train.ranks, train.hostfile)
    os.execv(command[0], command)


def launch_command(ranks: int, hostfile: str | None) -> list[str]:
    """The launcher for ranks on this machine or, through ssh, on those of a hostfile.

    On one machine the part that starts the ranks is called itself: the one around it would leave them running
    when it is killed.
    """
    python = [sys.executable, "-m"]
    if hostfile is not None:
        return [*python, "deepspeed.launcher.runner", "--hostfile", str(Path(hostfile).resolve()), *_MODULE]
    world = base64.urlsafe_b64encode(json.dumps({"localhost": list(range(ranks))}).encode()).decode()
    place = [f"--world_info={world}", "--master_addr=127.0.0.1", f"--master_port={_free_port()}"]
    return [*python, "deepspeed.launcher.launch", "--quiet", *place, *_MODULE]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
