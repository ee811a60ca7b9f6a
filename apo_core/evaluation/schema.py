"""The types of `reports/eval.json`, which `comparison.summarise` makes."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apo_core.errors import InputError
from apo_core.system.files import read_json

Model = TypeVar("Model", bound=BaseModel)


class PolicyScores(BaseModel):
    """One policy's scores, as shares from 0 to 1."""

    # Beside these fields, of N samples per prompt: avg@N, maj@N, and pass@2, pass@4 and so on up to pass@N.
    model_config = ConfigDict(frozen=True, extra="allow", validate_by_name=True, serialize_by_alias=True)

    pass_at_1: float = Field(alias="pass@1")
    ci95: tuple[float, float]  # of pass@1
    greedy: float | None  # pass@1 of greedy responses; None if there are none
    truncated: float  # of the sampled responses, as the two below
    unparsed: float
    errors: float  # the verifier failed

    def at_k(self, name: str) -> float | None:
        """Look up a score such as `pass@4` or `maj@4`; None if no prompt has so many scored samples.

        Raises:
            KeyError: the evaluation has no such score.
        """
        score: float | None = (self.model_extra or {})[name]
        return score


class Gain(BaseModel):
    """The policy beside the reference policy, on the same prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: int
    samples: int  # per prompt
    reference: PolicyScores
    policy: PolicyScores
    gain: float  # of pass@1
    gain_ci95: tuple[float, float]  # paired


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
