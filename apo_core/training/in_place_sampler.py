"""The module that trains as its own sampler."""

from __future__ import annotations

from typing import Any

from apo_core.sampling import Response, Sampler
from apo_core.sampling.base import Keys
from apo_core.training.policy_copy import gathered


class InPlaceSampler:
    """Samples with the very module that trains: nothing is copied, and nothing can be out of date."""

    def __init__(self, engine: Any, sampler: Sampler) -> None:
        """`sampler` is of the policy inside the DeepSpeed `engine`."""
        self.engine = engine
        self.sampler = sampler

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        with gathered(self.engine):
            return self.sampler.generate(
                prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
            )
