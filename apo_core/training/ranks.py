"""One training over many ranks: which one this is, and what all of them must agree on.

Without a process group there is one rank, and everything here is plain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import distributed

from apo_core.errors import ApoError

T = TypeVar("T")


def rank() -> int:
    """This process's number."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def world_size() -> int:
    """How many ranks there are."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def share(items: list[T]) -> list[T]:
    """Every so manieth of the items, beginning with this rank's."""
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
    found: T = outcome[0]
    return found


def barrier() -> None:
    """Wait for all ranks."""
    if world_size() > 1:
        distributed.barrier()
