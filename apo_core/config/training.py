"""Stage 2: the trainer, its checkpoints and its guard."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from apo_core.config.sampling import Sampler
from apo_core.config.section import (
    Decay,
    DType,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    Share,
)


class Checkpoint(Section):
    """What a killed training resumes from."""

    every: Positive
    """Steps."""
    keep: Positive
    """So many of the last, and beside them the one with the best reward."""
    min_free_mib: NonNegative
    """Space to leave free on the disk beside the checkpoint itself."""


class Guard(Section):
    """When a degenerating policy is stopped; means over the last `window` steps."""

    window: Positive
    max_kl: PositiveFloat
    """In nats a response, to the reference; of `oapl`, which holds none, to the policy from its copy."""
    min_reward_share: Share
    """Of the mean reward of stage 1 on the same prompts."""
    min_length_share: Share
    """Of the mean response length in the first `window` steps."""


class Lora(Section):
    """Train small adapters beside frozen weights; the policy without them is the reference, in one copy."""

    rank: Positive
    alpha: PositiveFloat
    """The adapters' weight is alpha / rank."""


class Train(Section):
    """Stage 2: whatever does not depend on the algorithm."""

    steps: Positive | None
    """This or `epochs`; the other is null."""
    epochs: PositiveFloat | None
    """Passes over the prompts that stage 1 has kept."""
    batch_size: Positive
    """Prompts a step, over all ranks."""
    micro_batch_tokens: Positive
    """Tokens of a forward and backward pass on one rank, padding included."""
    rollout_batch_size: Positive
    """Responses decoded at once on one rank by `sampler.engine: transformers`."""
    learning_rate: PositiveFloat
    """Constant, of AdamW."""
    adam_betas: tuple[Decay, Decay]
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat
    dtype: DType
    """bfloat16 computes over float32 master weights."""
    reference_dtype: DType | None
    """Of the frozen reference; null is `dtype`. bfloat16 beside float32 halves its memory and rounds
    ln pi_ref by tenths of a nat a response, which reach the KL as they are and the loss times `beta2`."""
    ranks: Positive
    """Processes that train together, one a GPU; 1 starts none."""
    hostfile: str | None
    """DeepSpeed's list of machines, for ranks on more than one; all must see the workspace under its path."""
    zero_stage: Literal[0, 1, 2, 3]
    """What ranks share: 1 the optimizer's state, 2 gradients too, 3 weights too."""
    offload: Literal["none", "optimizer", "all"]
    """What is kept in the host's memory instead of the GPU's; "all" needs zero_stage 3."""
    gradient_checkpointing: bool
    lora: Lora | None
    """null trains all weights."""
    sampler: Sampler
    """Draws the responses that are trained on; vLLM gets the weights before every step."""
    checkpoint: Checkpoint
    guard: Guard

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("exactly one of steps and epochs is needed")
        if self.batch_size % self.ranks:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of ranks {self.ranks}")
        if self.sampler.engine == "vllm" and self.sampler.vllm.tensor_parallel_size > 1:
            raise ValueError("sampler.vllm.tensor_parallel_size: only 1, every rank has an engine")
        if self.sampler.engine == "vllm" and self.lora is not None and self.dtype == "bfloat16":
            # vLLM is given plain weights, and bfloat16 cannot tell them from those without adapters.
            raise ValueError("lora: with sampler.engine vllm only in dtype float32")
        if self.lora is not None and self.reference_dtype is not None:
            raise ValueError("reference_dtype: with lora the reference is the policy without its adapters")
        if self.hostfile is not None and self.ranks == 1:
            raise ValueError("hostfile is for more than one of ranks")
        if self.offload != "none" and self.zero_stage < (3 if self.offload == "all" else 1):
            raise ValueError(f"offload: {self.offload} needs a higher zero_stage than {self.zero_stage}")
        return self
