"""How stage 2 learns, one short file an algorithm; `docs/algorithms.md` holds each beside its paper."""

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


def make_algorithm(name: str, **settings: Any) -> Algorithm:
    """An algorithm of the configuration's section `algorithm`, `name` and all other keys."""
    return ALGORITHMS[name](**settings)


__all__ = ["ALGORITHMS", "Algorithm", "Apo", "Grpo", "Oapl", "Ppo", "Rebel", "make_algorithm"]
