"""What a training step works with, and the responses it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from apo_core.algorithms.base import Algorithm
from apo_core.model.template import Template
from apo_core.sampling import Response, Sampler
from apo_core.sampling.scored import Question
from apo_core.system.heap import trim_heap
from apo_core.verifiers import ErrorBudget, Scorer

if TYPE_CHECKING:
    from peft import PeftModel

    from apo_core.training.policy_copy import LaggingCopy

# `MicroBatch.inputs` to (B, S) float32: see `ResponseLogProbs`
ReferenceLogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """The prompts kept for training, with V* of each."""

    questions: list[Question]
    token_ids: list[list[int]]
    v_star: list[float]


@dataclass(frozen=True, kw_only=True)
class RolloutBatch:
    """A rank's scored responses of one step: R = P x G of them, the G responses to one prompt in a row."""

    prompt_ids: list[str]
    prompts: list[list[int]]  # token ids
    responses: list[Response]
    rewards: list[float | None]  # None where the verifier failed
    reasons: list[str]  # the verifier's
    parts: list[dict[str, float] | None]  # of the rewards; see `Verdict`
    v_star: list[float]  # of the prompt

    def __len__(self) -> int:
        return len(self.responses)


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """Everything a step needs; nothing here changes but weights and the error budget."""

    engine: Any  # deepspeed.DeepSpeedEngine over ResponseLogProbs, or over PolicyAndCritic
    algorithm: Algorithm
    reference: ReferenceLogProbs | None  # the reference policy; None where the algorithm uses none
    adapters: PeftModel | None  # LoRA's, where nothing else of the policy is trained
    lagging: LaggingCopy | None = None  # the copy that samples, where the algorithm has one
    sampler: Sampler  # of the policy as it is at each call, or of its lagging copy
    template: Template
    scorer: Scorer
    errors: ErrorBudget  # over the last steps
    prompts: TrainingSet
    max_new_tokens: int
    temperature: float
    micro_batch_tokens: int
    importance_limit: float | None = None  # of weights by the sampler's log-probs; None does not weigh
    pad_id: int
    seed: int

    def spare_memory(self) -> None:
        """Where memory matters more than time, give back what was freed since the last time."""
        if self.engine.module.model.is_gradient_checkpointing:
            trim_heap()
