"""The types of `reports/eval.json`, which `comparison.summarise` makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from apo_core.errors import InputError
from apo_core.system.files import read_json

Model = TypeVar("Model", bound=BaseModel)


class PolicyScores(BaseModel):
    """One policy's scores, from 0 to 1: shares of responses, or means of graded rewards."""

    # Beside these fields, of N samples per prompt: avg@N, maj@N, and pass@2, pass@4 and so on up to pass@N,
    # which are best@2 and so on of graded rewards.
    model_config = ConfigDict(frozen=True, extra="allow", validate_by_name=True, serialize_by_alias=True)

    pass_at_1: float | None = Field(default=None, alias="pass@1")  # of rewards that are 0 or 1
    reward: float | None = None  # the mean of graded ones
    ci95: tuple[float, float]  # of the mean
    greedy: float | None  # mean reward of greedy responses; None if there are none
    truncated: float  # of the sampled responses, as the two below
    unparsed: float
    errors: float  # the verifier failed

    @model_validator(mode="after")
    def _one_mean(self) -> Self:
        if (self.pass_at_1 is None) == (self.reward is None):
            raise ValueError("either pass@1 or reward is expected")
        return self

    @model_serializer(mode="wrap")
    def _without_the_other_mean(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        absent = ("pass@1", "pass_at_1") if self.pass_at_1 is None else ("reward",)
        return {name: value for name, value in fields.items() if name not in absent}

    @property
    def mean_name(self) -> str:
        """What the mean over the sampled responses is called: pass@1, or reward where rewards are graded."""
        return "pass@1" if self.reward is None else "reward"

    @property
    def mean(self) -> float:
        """That mean."""
        mean = self.pass_at_1 if self.reward is None else self.reward
        assert mean is not None, "refused when read"
        return mean

    @property
    def best_name(self) -> str:
        """What the best of several responses is called: pass, or best where rewards are graded."""
        return "pass" if self.reward is None else "best"

    def at_k(self, name: str) -> float | None:
        """Look up a score such as `pass@4` or `maj@4`; None if no prompt has so many scored samples.

        Raises:
            KeyError: the evaluation has no such score.
        """
        score: float | None = (self.model_extra or {})[name]
        return score


def mean_name(scores: dict[str, Any]) -> str:
    """`PolicyScores.mean_name` of scores as they are written."""
    return "reward" if "reward" in scores else "pass@1"


def bounds_in_words(block: dict[str, Any]) -> str:
    """Spell out the `gain_bounds` of a `Gain` as it is written, worst case first."""
    (worst, best), (low, high) = block["gain_bounds"], block["gain_bounds_ci95"]
    return f"{worst:+.3f} to {best:+.3f} (95% {low:+.3f} to {high:+.3f})"


class Gain(BaseModel):
    """The policy beside the reference policy, on the same prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: int
    samples: int  # per prompt
    reference: PolicyScores
    policy: PolicyScores
    gain: float  # of the mean
    gain_ci95: tuple[float, float]  # paired
    # Where the verifier failed on responses: with these counted wrong for the policy and right for the
    # reference policy, and the other way; the interval holds the intervals of both. Else absent.
    gain_bounds: tuple[float, float] | None = None
    gain_bounds_ci95: tuple[float, float] | None = None

    @model_serializer(mode="wrap")
    def _without_absent_bounds(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        bounds = ("gain_bounds", "gain_bounds_ci95")
        return {name: value for name, value in fields.items() if name not in bounds or value is not None}


class Evaluation(Gain):
    """All evaluation prompts, and parts of them by name."""

    kl: float  # KL divergence from the reference policy, in nats per response
    sets: dict[str, Gain]
    groups: dict[str, Gain]
    difficulty: dict[str, Gain]


def read_written(kind: type[Model], file: Path, *, stage: str) -> Model:
    """Read a JSON file that a stage has written.

    Raises:
        InputError: it has other fields, as those of other versions of apo-flow have.
    """
    try:
        return kind.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{first['msg']}: of another version of apo-flow; `apo run --force {stage}` writes it anew"
        raise InputError(file, problem, field=".".join(map(str, first["loc"]))) from None
