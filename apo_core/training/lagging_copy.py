"""A copy of the policy that lags behind it: what draws, and what the policy is held against."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from apo_core.model.log_probs import ResponseLogProbs
from apo_core.training.gathered import gathered
from apo_core.training.rollouts import whole_weights


class Lagging:
    """The policy as it was when it was last copied, whole on every rank and without adapters."""

    def __init__(self, engine: Any, model: PreTrainedModel, *, temperature: float) -> None:
        """Begin with what `model` holds.

        Args:
            engine: DeepSpeed's, over the policy.
            model: of the policy's architecture, to be overwritten.
            temperature: of the log-probs.
        """
        self.engine = engine
        self.model = model.requires_grad_(False)
        self.log_probs = ResponseLogProbs(model, temperature=temperature)

    def __call__(self, token_ids: Tensor, attended: Tensor, response: Tensor) -> Tensor:
        """See `ResponseLogProbs`."""
        found: Tensor = self.log_probs(token_ids, attended, response)
        return found

    def synchronise(self) -> None:
        """Copy the policy's weights; every rank at the same time."""
        with gathered(self.engine):
            weights = whole_weights(self.engine.module.model)
        # Tied weights are there once.
        _, unknown = self.model.load_state_dict(weights, strict=False)
        if unknown:
            raise RuntimeError(f"the lagging copy is of another architecture: it has no {unknown[0]}")
