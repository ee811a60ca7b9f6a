"""The types of `reports/eval.json`, which `comparison.summarise` makes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
