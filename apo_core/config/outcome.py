"""What becomes of a policy: evaluation, promotion, tracking; and how the flow treats failures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from apo_core.config.section import DType, NonNegative, Positive, PositiveFloat, Section

# What MLflow takes as a name and its filters can quote.
Name = Annotated[str, Field(pattern=r"^[^/:'\"\s][^/:'\"]*$")]


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
    """Manual: a person makes a candidate the champion (`apo approve`)."""
    four_eyes: bool
    """The person is another than the one who started the run."""
    approval_hours: PositiveFloat
    """A candidate that nobody has decided on by then is closed."""


class Tracking(Section):
    """MLflow: the experiment and the registered model's name."""

    experiment: Name
    model: Name


class Pipeline(Section):
    """How the Prefect flow treats a stage that fails."""

    retries: NonNegative
    retry_delay_seconds: PositiveFloat
    """Doubles with every retry."""
    stage_timeout_hours: PositiveFloat
