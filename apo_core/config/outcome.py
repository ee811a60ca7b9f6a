"""After training: evaluation, promotion and tracking; and how the flow treats failures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from apo_core.config.section import DType, NonNegative, Positive, PositiveFloat, Section

# What MLflow takes as a name and its filters can quote; `MODEL@ALIAS` and `MODEL/VERSION` name versions.
Name = Annotated[str, Field(pattern=r"^[^/:@'\"\s][^/:@'\"]*$")]


class Evaluation(Section):
    """How reference and policy are compared on the held-out prompts."""

    samples: Positive
    """Sampled responses per prompt, beside the greedy one."""
    batch_size: Positive
    """Responses decoded at once."""
    micro_batch_tokens: Positive
    """Tokens per forward pass of the KL, padding included."""
    dtype: DType
    """Precision of both models."""

    @property
    def shard_prompts(self) -> int:
        """Prompts per shard: as many as fill a batch."""
        return max(1, self.batch_size // self.samples)


class Promotion(Section):
    """When a policy may replace the one in production."""

    min_prompts: Positive
    """Evaluation prompts below which the decision is to hold."""
    min_gain: Annotated[float, Field(ge=0, lt=1)]
    """Gain in pass@1, or in the mean of graded rewards, that the lower end of the paired interval must be
    above: of the 95% interval at the first look."""
    max_kl: PositiveFloat
    """Most KL to the reference, in nats per response; a policy further away is rejected."""
    approval: Literal["auto", "manual"]
    """`auto` makes a promoted candidate the champion; with `manual` a person does (`apo approve`)."""
    four_eyes: bool
    """Whoever approves must not be whoever started the run; needs `approval: manual`."""
    approval_hours: PositiveFloat
    """Hours after which a candidate that nobody has decided on expires."""

    @model_validator(mode="after")
    def _a_person_decides(self) -> Self:
        if self.four_eyes and self.approval == "auto":
            raise ValueError("four_eyes needs approval: manual")
        return self


class Tracking(Section):
    """Names in MLflow."""

    experiment: Name
    """Name of the MLflow experiment that runs are logged to."""
    model: Name
    """Name of the registered model."""


class Pipeline(Section):
    """How the Prefect flow treats a stage that fails."""

    retries: NonNegative
    """How often a stage is tried again that failed for another reason than its input."""
    retry_delay_seconds: PositiveFloat
    """Seconds before the first retry; doubles with every further one."""
    stage_timeout_hours: PositiveFloat
    """Hours after which a stage is ended; the next run goes on from its shards or checkpoints."""
