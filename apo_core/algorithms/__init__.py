"""Training algorithms, one file each; `docs/algorithms.md` compares each with its paper.

A new algorithm is a file here, an entry in `ALGORITHMS`, and its keys in `apo_core/config/algorithm.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apo_core.algorithms.apo import Apo
from apo_core.algorithms.base import Algorithm
from apo_core.algorithms.grpo import Grpo
from apo_core.algorithms.oapl import Oapl
from apo_core.algorithms.ppo import Ppo
from apo_core.algorithms.rebel import Rebel

# By their names in the configuration, whose keys are their fields.
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "apo": Apo,
    "grpo": Grpo,
    "ppo": Ppo,
    "rebel": Rebel,
    "oapl": Oapl,
}


def make_algorithm(name: str, **keys: Any) -> Algorithm:
    """Make the algorithm of the configuration's section `algorithm`: its `name` and all its other keys."""
    return ALGORITHMS[name](**keys)


__all__ = ["ALGORITHMS", "Algorithm", "Apo", "Grpo", "Oapl", "Ppo", "Rebel", "make_algorithm"]
