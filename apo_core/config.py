"""The configuration: frozen models that mirror `params.yaml`, refused by name where they do not fit.

Configuration stops at the boundary: stages unpack these models, and the mathematics takes flat arguments.
No key has a default: `params.yaml` is the whole truth, so that DVC sees every change that matters.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
DType = Literal["float32", "bfloat16"]


class Section(BaseModel):
    """One block of `params.yaml`: unknown keys and wrong types are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Arithmetic(Section):
    """Chains such as `7+5-3=`: the embedded task, shared by its data and its from-scratch reference."""

    min_terms: Annotated[int, Field(ge=2)]
    max_terms: Annotated[int, Field(ge=2, le=12)]
    max_operand: Annotated[int, Field(ge=1, le=999)]

    @model_validator(mode="after")
    def _terms_in_order(self) -> Self:
        if self.min_terms > self.max_terms:
            raise ValueError(f"min_terms {self.min_terms} is above max_terms {self.max_terms}")
        return self


class Scratch(Section):
    """The tiny decoder that is trained from nothing when there is no model to start from."""

    hidden_size: Positive
    layers: Positive
    heads: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: PositiveFloat
    guess_share: Share
    """Share of training examples that answer at once instead of step by step."""
    guess_error: Share
    """Share of those whose answer is wrong."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


class Reference(Section):
    """The frozen policy that is sampled in stage 1 and regularised towards in stage 2."""

    source: Literal["scratch", "directory", "hub"]
    """`directory` reads `data/raw/model`, `hub` downloads `name` at `revision`."""
    name: str | None
    revision: str | None
    scratch: Scratch

    @model_validator(mode="after")
    def _hub_has_a_name(self) -> Self:
        if (self.source == "hub") != (self.name is not None):
            raise ValueError("name is needed with source: hub, and only there")
        return self


class Data(Section):
    """Where prompts come from."""

    source: Literal["arithmetic", "files"]
    """`files` reads JSONL files below `data/raw/prompts`."""
    train_files: tuple[str, ...]
    eval_files: tuple[str, ...]
    prompt_field: str
    answer_field: str
    train_prompts: Positive | None
    """How many to take (seeded choice); all of a file's where null."""
    eval_prompts: Positive | None
    too_long: Literal["refuse", "drop"]
    """What becomes of prompts above `template.max_prompt_tokens`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.source == "files" and not (self.train_files and self.eval_files):
            raise ValueError("train_files and eval_files are needed with source: files")
        if self.source == "arithmetic" and not (self.train_prompts and self.eval_prompts):
            raise ValueError("train_prompts and eval_prompts are needed with source: arithmetic")
        return self


class Template(Section):
    """How a prompt becomes the tokens the policy reads."""

    style: Literal["raw", "chat"]
    text: str
    system: str | None
    max_prompt_tokens: Positive

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "{prompt}" not in self.text:
            raise ValueError("text must contain {prompt}")
        if self.system is not None and self.style != "chat":
            raise ValueError("system needs style: chat")
        return self


class Verifier(Section):
    """What turns a completion into a reward. One verifier serves sampling, training and evaluation."""

    name: Literal["numeric", "gsm8k", "math", "exact"]


class Generation(Section):
    """The distribution responses are drawn from: part of the value table's fingerprint."""

    max_new_tokens: Positive
    temperature: PositiveFloat
    top_p: float
    top_k: int

    @model_validator(mode="after")
    def _full_distribution(self) -> Self:
        # A truncated sampler draws from another distribution than the log-probs describe.
        if self.top_p != 1.0:
            raise ValueError("top_p: only 1.0 (off) leaves the log-probs those of the sampler")
        if self.top_k != 0:
            raise ValueError("top_k: only 0 (off) leaves the log-probs those of the sampler")
        return self


class Sampling(Section):
    """Stage 1: how many responses a prompt, and how the work is cut."""

    engine: Literal["transformers"]
    n: Positive
    batch_size: Positive
    shard_prompts: Positive
    dtype: DType


class Values(Section):
    """V*(x) = beta1 (logsumexp_i(r_i / beta1) - ln N)."""

    beta1: PositiveFloat
    drop_unsolved: bool
    """Leave prompts that no reference sample solves out of stage 2."""


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
    beta2: PositiveFloat
    learning_rate: PositiveFloat
    adam_betas: tuple[Share, Share]
    weight_decay: Annotated[float, Field(ge=0)]
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


class Evaluation(Section):
    """Reference and policy on the held-out prompts."""

    samples: Positive
    batch_size: Positive
    dtype: DType


class Promotion(Section):
    """When a policy may replace the one in production."""

    min_prompts: Positive
    min_gain: Annotated[float, Field(ge=0, lt=1)]
    """The paired interval's lower end must be above this."""
    max_kl: PositiveFloat
    approval: Literal["auto", "manual"]


class Tracking(Section):
    """MLflow: the experiment and the registered model's name."""

    experiment: str
    model: str


class Pipeline(Section):
    """How the Prefect flow treats a stage that fails."""

    retries: NonNegative
    retry_delay_seconds: PositiveFloat
    """Doubles with every retry."""
    stage_timeout_hours: PositiveFloat


class Params(Section):
    """The whole of `params.yaml`."""

    seed: NonNegative
    trust_remote_code: bool
    """Let a model directory's own Python run."""
    arithmetic: Arithmetic
    reference: Reference
    data: Data
    template: Template
    verifier: Verifier
    generation: Generation
    sampling: Sampling
    values: Values
    train: Train
    evaluation: Evaluation
    promotion: Promotion
    tracking: Tracking
    pipeline: Pipeline

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.reference.source == "scratch" and self.data.source != "arithmetic":
            raise ValueError("reference.source: scratch only learns data.source: arithmetic")
        if self.reference.source == "scratch" and self.template.style == "chat":
            raise ValueError("template.style: chat needs a model with a chat template, not scratch")
        return self
