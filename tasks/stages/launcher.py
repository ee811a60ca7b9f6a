"""DeepSpeed's launcher in the place of a stage's process, where the stage trains on many ranks."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from apo_core import config
from apo_core.errors import ApoError, InputError
from apo_core.system.environment import share_cores, use_cpu_accelerator
from apo_core.system.loopback import free_port
from apo_core.system.processes import python_module

RANK = "rank"  # the stage's argument: schedulers set variables such as RANK for reasons of their own


def become_launcher(train: config.Train) -> None:
    """Replace this process by the launcher, which starts `python -P -m tasks train rank` once per rank.

    Raises:
        ApoError: there are fewer GPUs than ranks, or no such hostfile.
    """
    # Ranks on one machine share its cores; the launcher leaves this to us.
    local = train.ranks if train.hostfile is None else 1
    share_cores(local)
    import torch

    gpus = torch.cuda.device_count()
    if not gpus:
        use_cpu_accelerator()
    elif train.hostfile is None and gpus < train.ranks:
        raise ApoError(f"train.ranks is {train.ranks}, there are {gpus} GPUs")
    if train.hostfile is not None and not Path(train.hostfile).is_file():  # DeepSpeed would go on without it
        raise InputError(train.hostfile, "no such file", field="train.hostfile")
    command = launch_command(train.ranks, train.hostfile)
    os.execv(command[0], command)


def launch_command(ranks: int, hostfile: str | None) -> list[str]:
    """The launcher for ranks on this machine or, through ssh, on those of a hostfile.

    On one machine the part that starts the ranks is called itself: the one around it would leave them running
    when it is killed. On several the ranks elsewhere notice when the first one's connection is gone.
    """
    if hostfile is not None:
        hosts = str(Path(hostfile).resolve())
        return [*python_module("deepspeed.launcher.runner"), "--hostfile", hosts, *_rank_command()]
    world = base64.urlsafe_b64encode(json.dumps({"localhost": _devices(ranks)}).encode()).decode()
    rendezvous = [f"--world_info={world}", "--master_addr=127.0.0.1", f"--master_port={free_port()}"]
    return [*python_module("deepspeed.launcher.launch"), "--quiet", *rendezvous, *_rank_command()]


def _rank_command() -> list[str]:
    """What the launcher starts once per rank.

    Not by its option `--module`, which leaves out `-P`; and on several hosts it puts the workspace on
    PYTHONPATH.
    """
    path = f"PYTHONPATH={os.environ.get('PYTHONPATH', '')}"
    return ["--no_local_rank", "--no_python", "env", path, *python_module("tasks", "train", RANK)]


def _devices(ranks: int) -> list[str]:
    """One a rank, of those that this run may use, by number or UUID: the launcher takes them as they are."""
    seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return seen[:ranks] if len(seen) >= ranks else [str(number) for number in range(ranks)]
