"""Stage 1: the distribution of responses, how they are drawn, and the values made of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from apo_core.config.section import DType, Positive, PositiveFloat, Section


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
