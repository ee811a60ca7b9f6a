"""How many files, pipes and pieces of memory a process may hold open."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> int:
    """Take all that this account may have, for this process and those it starts; say how many that are.

    A shell gives 1,024 of them, for the sake of programs that call `select`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
