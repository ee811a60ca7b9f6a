"""Stage 2: the trainer, its checkpoints and its guard."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from apo_core.config.sampling import VllmOverride
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

Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"]
_VLLM_RANK = 512  # 0.32, vllm/config/lora.py:24


class Checkpoint(Section):
    """Checkpoints that a killed training resumes from."""

    every: Positive
    """Steps between checkpoints."""
    keep: Positive
    """Number of newest checkpoints to keep, beside the one with the best reward."""
    min_free_mib: NonNegative
    """MiB to leave free on the disk beside the checkpoint itself."""


class Guard(Section):
    """When a degenerating policy is stopped; each limit is for the mean over the last `window` steps."""

    window: Positive
    """Steps that means are over."""
    max_kl: PositiveFloat
    """Most KL to the reference, in nats per response; with `oapl`, which holds none, to its lagging copy."""
    max_sampler_kl: PositiveFloat | None
    """Most KL of what vLLM samples from to the policy that learns, in nats per token; null: 1e-6 in float32
    and 0.01 in bfloat16, many times what rounding makes of it."""
    min_reward_share: Share
    """Least mean reward, as a share of what the reference policy can be expected to get on the same prompts;
    less where the rewards of a window are so few that chance alone could fall below it."""
    min_length_share: Share
    """Least mean response length, as a share of that in the first `window` steps."""


class Lora(Section):
    """Train small adapters beside frozen weights; the policy without them is the reference, in one copy."""

    rank: Positive
    """Rank of the adapters."""
    alpha: PositiveFloat
    """Scale of the adapters: their output is multiplied by alpha / rank."""


class TrainSampler(Section):
    """The engine that samples the responses of training."""

    engine: Literal["transformers", "vllm"]
    """`transformers` samples from the policy's own weights; `vllm` gets them before every step (with `lora`
    in bfloat16 the adapters alone), and on a GPU leaves it to the trainer in between."""
    vllm_override: VllmOverride
    """Keys of `sampler.vllm` that training sets differently, {gpu_memory_utilization: 0.3} say; {} for
    none."""


class Train(Section):
    """Stage 2: everything that does not depend on the algorithm."""

    steps: Positive | None
    """Steps of training. Exactly one of `steps` and `epochs` is set, the other is null."""
    epochs: PositiveFloat | None
    """Passes over the prompts that stage 1 has kept, in place of `steps`."""
    batch_size: Positive
    """Prompts per step, over all ranks."""
    micro_batch_tokens: Positive
    """Tokens per forward and backward pass on one rank, padding included."""
    rollout_batch_size: Positive
    """Responses decoded at once on one rank by `train.sampler.engine: transformers`."""
    learning_rate: PositiveFloat
    """Learning rate of AdamW; constant."""
    adam_betas: tuple[Decay, Decay]
    """AdamW's decay of the mean and of the squared gradient."""
    weight_decay: NonNegativeFloat
    """AdamW's weight decay."""
    max_grad_norm: PositiveFloat
    """Norm that gradients are clipped to."""
    dtype: DType
    """Precision of the policy; bfloat16 computes over float32 master weights."""
    reference_dtype: DType | None
    """Precision of the frozen reference; null: as `dtype`. bfloat16 beside float32 halves its memory and
    rounds ln pi_ref by tenths of a nat per response, which reach the KL as they are and the loss times
    `beta2`."""
    ranks: Positive
    """Processes that train together, one per GPU; 1 trains in the stage's own process."""
    hostfile: str | None
    """DeepSpeed's list of machines, for ranks on several; all must see the workspace under the same path.
    null: this machine."""
    zero_stage: Literal[0, 1, 2, 3]
    """ZeRO: what is divided between ranks. 0 nothing, 1 the optimizer's state, 2 gradients too, 3 weights
    too."""
    offload: Literal["none", "optimizer", "all"]
    """What is kept in the host's memory instead of the GPU's: the optimizer's state (needs a zero_stage of 1
    or more), or weights too (`all`, needs zero_stage 3)."""
    gradient_checkpointing: bool
    """Compute activations again in the backward pass: less memory, more time."""
    attention: Attention | None
    """How policy and reference attend, in transformers' names. null is its choice: torch's `sdpa`, which on
    GPUs is flash attention in bfloat16. `flash_attention_2` and `flash_attention_3` need packages of their
    own, and bfloat16; `eager` is plain products."""
    importance_limit: PositiveFloat | None
    """Weigh each response's loss by how much likelier it is to the policy than to vLLM, which sampled it: by
    min(pi(y|x) / q(y|x), importance_limit), 2.0 say; null does not weigh. Only with `train.sampler.engine:
    vllm`."""
    lora: Lora | None
    """Train adapters only, {rank: 16, alpha: 32.0} say; null trains all weights."""
    sampler: TrainSampler
    """The engine that samples the responses of training."""
    checkpoint: Checkpoint
    """Checkpoints that a killed training resumes from."""
    guard: Guard
    """When a degenerating policy is stopped."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("exactly one of steps and epochs is needed")
        if self.batch_size % self.ranks:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of ranks {self.ranks}")
        adapters_in_vllm = self.sampler.engine == "vllm" and self.dtype == "bfloat16"
        if adapters_in_vllm and self.lora is not None and self.lora.rank > _VLLM_RANK:
            raise ValueError(f"lora: vLLM's adapters have a rank of at most {_VLLM_RANK}")
        if self.lora is not None and self.reference_dtype is not None:
            raise ValueError("reference_dtype: with lora the reference is the policy without its adapters")
        if str(self.attention).startswith("flash") and "float32" in (self.dtype, self.reference_dtype):
            raise ValueError(f"attention: {self.attention} needs dtype and reference_dtype bfloat16")
        if self.importance_limit is not None and self.sampler.engine == "transformers":
            raise ValueError("importance_limit: only with sampler.engine vllm, which keeps log-probs")
        if self.hostfile is not None and self.ranks == 1:
            raise ValueError("hostfile is for more than one of ranks")
        if self.offload != "none" and self.zero_stage < (3 if self.offload == "all" else 1):
            raise ValueError(f"offload: {self.offload} needs a higher zero_stage than {self.zero_stage}")
        return self
