"""Stage 2: the trainer, its checkpoints and its guard."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from apo_core.config.section import Decay, DType, NonNegative, Positive, PositiveFloat, Section, Share


class Checkpoint(Section):
    """What a killed training resumes from."""

    every: Positive
    keep: Positive
    min_free_mib: NonNegative
    """Space to leave free on the disk beside the checkpoint itself."""


class Guard(Section):
    """When a degenerating policy is stopped; means over the last `window` steps."""

    window: Positive
    max_kl: PositiveFloat
    """In nats a response, policy to reference."""
    min_reward_share: Share
    """Of the mean reward of stage 1 on the same prompts."""
    min_length_share: Share
    """Of the mean response length in the first `window` steps."""


class Train(Section):
    """Stage 2: least squares, one response a prompt, one optimizer update a batch."""

    steps: Positive | None
    epochs: PositiveFloat | None
    batch_size: Positive
    micro_batch_size: Positive
    rollout_batch_size: Positive
    beta2: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """0 regularises by V* alone: no reference is held in memory, and no KL is known during training."""
    learning_rate: PositiveFloat
    adam_betas: tuple[Decay, Decay]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_grad_norm: PositiveFloat
    dtype: DType
    """bfloat16 computes over float32 master weights."""
    zero_stage: Literal[0, 1, 2]
    gradient_checkpointing: bool
    checkpoint: Checkpoint
    guard: Guard

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("exactly one of steps and epochs is needed")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}"
            )
        return self
