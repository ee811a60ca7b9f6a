"""What becomes of a policy: evaluation, promotion, tracking; and how the flow treats failures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from apo_core.config.section import DType, NonNegative, Positive, PositiveFloat, Section

# What MLflow takes as a name and its filters can quote; `MODEL@ALIAS` and `MODEL/VERSION` name versions.
Name = Annotated[str, Field(pattern=r"^[^/:@'\"\s][^/:@'\"]*$")]


class Evaluation(Section):
    """Reference and policy on the held-out prompts."""

    samples: Positive
    """Of a prompt, beside the greedy response."""
    batch_size: Positive
    """Responses that are drawn at once."""
    micro_batch_tokens: Positive
    """Tokens of a forward pass of the KL, padding included."""
    dtype: DType


class Promotion(Section):
    """When a policy may replace the one in production."""

    min_prompts: Positive
    """With fewer evaluation prompts the decision is to hold."""
    min_gain: Annotated[float, Field(ge=0, lt=1)]
    """The paired interval's lower end must be above this."""
    max_kl: PositiveFloat
    """A policy further from its reference is rejected; nats a response."""
    approval: Literal["auto", "manual"]
    """Manual: a person makes a candidate the champion (`apo approve`)."""
    four_eyes: bool
    """The person is another than the one who started the run; with `approval: manual`."""
    approval_hours: PositiveFloat
    """A candidate that nobody has decided on by then is closed."""

    @model_validator(mode="after")
    def _a_person_decides(self) -> Self:
        if self.four_eyes and self.approval == "auto":
            raise ValueError("four_eyes needs approval: manual")
        return self


class Tracking(Section):
    """MLflow: the experiment and the registered model's name."""

    experiment: Name
    model: Name


class Pipeline(Section):
    """How the Prefect flow treats a stage that fails."""

    retries: NonNegative
    """Of a stage that failed for another reason than its input."""
    retry_delay_seconds: PositiveFloat
    """Doubles with every retry."""
    stage_timeout_hours: PositiveFloat
    """After which a stage is ended; it goes on from its shards or checkpoint in the next run."""
