"""One training over many ranks: joining them, which one this is, and what all of them must agree on.

Without a process group there is one rank, and nothing is exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed

from apo_core.errors import ApoError
from apo_core.system.environment import default_to_single_rank
from apo_core.system.loopback import HOST, check_loopback, free_port
from apo_core.system.processes import cores

T = TypeVar("T")


def join_ranks(expected: int | None = None) -> None:
    """Join the other ranks and take this one's device; stand alone where no launcher has said otherwise.

    Raises:
        ApoError: there are not as many ranks as expected, or this machine cannot reach itself.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if expected is not None and started != expected:
        raise ApoError(f"train.ranks is {expected}, but the launcher has started {started}")
    if distributed.is_initialized():
        return
    if os.environ.get("MASTER_ADDR", HOST) == HOST:
        check_loopback()  # torch would wait there for minutes
    default_to_single_rank(free_port())
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Both: tensors of the device, and the small objects that ranks agree on.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def rank() -> int:
    """This process's number."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def world_size() -> int:
    """How many ranks there are."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def own_cores() -> int:
    """How many of this machine's cores are this rank's; DeepSpeed's launcher says how many ranks are here."""
    here = int(os.environ.get("LOCAL_SIZE", "1")) if world_size() > 1 else 1
    return max(1, cores() // here)


def share(items: list[T]) -> list[T]:
    """This rank's part of the items: every n-th of them, for n ranks."""
    return items[rank() :: world_size()]


def gather(own: list[T]) -> list[T]:
    """What every rank holds, in the order of ranks, for every rank."""
    if world_size() == 1:
        return own
    parts: list[list[T]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def first_only(action: Callable[[], T]) -> T:
    """Have the first rank do something; all get what it returns, or its error.

    Raises:
        ApoError: the action raised one.
    """
    if world_size() == 1:
        return action()
    outcome: list[Any] = [None]
    if rank() == 0:
        try:
            outcome = [action()]
        except ApoError as error:
            # Every rank is to end alike: the launcher kills those that are left when one has ended.
            distributed.broadcast_object_list([ApoError(str(error))])
            raise
    distributed.broadcast_object_list(outcome)
    if isinstance(outcome[0], ApoError):
        raise outcome[0]
    returned: T = outcome[0]
    return returned


def barrier() -> None:
    """Wait for all ranks."""
    if world_size() > 1:
        distributed.barrier()
