"""What decides how long a run takes, and the parts that its hours are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from apo_core.plan.model_shape import ModelShape
from apo_core.plan.seconds import Lengths, lengths_of


class Part(NamedTuple):
    """A part of a stage, what it takes in all, and why."""

    stage: str
    name: str
    seconds: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class SamplerShape:
    """An engine that samples: vLLM, or transformers."""

    vllm: bool
    slots: int  # responses at once
    gpus: int = 1  # that a model is spread over
    eager: bool = False


@dataclass(frozen=True, kw_only=True)
class RunShape:
    """What decides how long a run takes."""

    model: ModelShape
    prompt_tokens: float  # mean
    response_tokens: float  # mean
    max_new_tokens: int
    score_seconds: float  # of one response, by one worker of the verifier
    score_workers: int
    # stage sample
    prompts: int
    n: float  # responses per prompt
    shard_prompts: int
    workers: int  # no more than there are GPUs for
    sampling_dtype: str
    sampler: SamplerShape
    # stage train
    steps: int
    batch_size: int  # prompts per step
    responses: int  # per prompt
    epochs: int
    minibatches: int
    reference: bool
    recorded: bool
    critic: bool
    lagging_every: int | None
    trained: int  # parameters
    lora: bool
    dtype: str
    ranks: int
    zero_stage: int
    offload: str
    checkpointing: bool
    micro_batch_tokens: int
    train_sampler: SamplerShape
    sleeps: bool
    checkpoint_every: int
    # stage evaluate
    eval_prompts: int
    eval_samples: int
    eval_shard_prompts: int
    evaluation_dtype: str

    @property
    def lengths(self) -> Lengths:
        """Of the responses."""
        return lengths_of(self.response_tokens, self.max_new_tokens)

    @property
    def rank_rows(self) -> float:
        """Responses that a rank samples and learns from in a step."""
        return self.batch_size / self.ranks * self.responses
