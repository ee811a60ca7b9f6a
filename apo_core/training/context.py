"""What a training step works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from apo_core.algorithms.base import Algorithm
from apo_core.kernels.heap import trim_heap
from apo_core.model.template import Template
from apo_core.sampling import Sampler
from apo_core.verifiers import ErrorBudget, Scorer

if TYPE_CHECKING:
    from peft import PeftModel

    from apo_core.training.lagging_copy import Lagging

# (B, T) token ids, attended and response masks to (B, T-1) float32: see `ResponseLogProbs`
ReferenceLogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingSet:
    """The prompts kept for stage 2 and what each must beat."""

    prompt_ids: list[str]
    token_ids: list[list[int]]
    answers: list[str]
    rows: list[str]  # JSON: see `tables.PROMPTS`
    values: list[float]  # V*(x)


@dataclass(frozen=True)
class Stage2:
    """What a step works with; nothing here changes but weights and the budget of errors."""

    engine: Any  # deepspeed.DeepSpeedEngine over ResponseLogProbs, or over PolicyAndCritic
    algorithm: Algorithm
    reference: ReferenceLogProbs | None  # what the policy is held against; None where nothing is
    adapters: PeftModel | None  # of a policy that trains nothing else
    sampler: Sampler  # of the engine's policy as it is at each call (rollouts.py), or of its lagging copy
    template: Template
    scorer: Scorer
    errors: ErrorBudget  # of the last steps
    prompts: TrainingSet
    max_new_tokens: int
    temperature: float
    micro_batch_tokens: int
    pad_id: int
    seed: int
    lagging: Lagging | None = None  # the copy that draws, where the algorithm has one

    def spare_memory(self) -> None:
        """Where memory matters more than time, give back what was freed since the last time."""
        if self.engine.module.model.is_gradient_checkpointing:
            trim_heap()
