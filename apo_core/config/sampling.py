"""Stage 1: the distribution of responses, how they are drawn, and the values made of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from apo_core.config.section import DType, Positive, PositiveFloat, Section, Share


class Generation(Section):
    """The distribution responses are drawn from: part of the value table's fingerprint."""

    max_new_tokens: Positive
    stop_character: Annotated[str, Field(min_length=1, max_length=1)] | None
    """Every token that contains it ends a response, as the end-of-sequence token does; null for none."""
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


class Vllm(Section):
    """How vLLM is started; none of it changes the distribution."""

    max_num_seqs: Positive
    """Responses decoded at once."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)]
    """Share of a GPU's memory (of the machine's, on CPU) that the engine takes; the evaluation holds two
    transformers models beside it."""
    kv_cache_gib: PositiveFloat | None
    """Of the key-value cache; null for what that share leaves. VLLM_CPU_KVCACHE_SPACE, if set, wins."""
    tensor_parallel_size: Positive
    """GPUs a copy of the model is spread over."""
    enforce_eager: bool
    """Neither compile the model nor capture CUDA graphs: starts sooner, decodes slower."""


class Sampler(Section):
    """What draws responses."""

    engine: Literal["transformers", "vllm"]
    vllm: Vllm


class Adaptive(Section):
    """Only as many responses as a prompt's V* needs: see `apo_core.values.pooled`."""

    first: Annotated[int, Field(ge=2)]
    """Responses to every prompt; further ones follow as many at a time."""
    deviation: PositiveFloat
    """A prompt gets no more when its V* is known to this standard deviation."""
    beta1: PositiveFloat
    """Of the V* that is asked for: the same as `values.beta1`."""


class Sampling(Section):
    """Stage 1: how many responses a prompt, and how the work is cut."""

    n: Positive
    """Responses a prompt; at most, where `adaptive` is set."""
    adaptive: Adaptive | None
    """null draws `n` for every prompt, and V* is that of its own rewards."""
    batch_size: Positive
    """Responses decoded at once by `sampler.engine: transformers`."""
    shard_prompts: Positive
    """What a worker does at once, and what a kill may cost."""
    executor: Literal["local", "ray"]
    """Where workers run: here, or on the Ray cluster of RAY_ADDRESS, whose machines all see the workspace."""
    workers: Positive
    """Each has an engine of its own."""
    dtype: DType

    @model_validator(mode="after")
    def _first_is_within(self) -> Self:
        if self.adaptive is not None and self.adaptive.first > self.n:
            raise ValueError(f"adaptive.first: {self.adaptive.first} is above n {self.n}")
        return self


class Values(Section):
    """V*(x) = beta1 (logsumexp_i(r_i / beta1) - ln N)."""

    beta1: PositiveFloat
    drop_unsolved: bool
    """Leave prompts that no reference sample solves out of stage 2."""
    drop_solved: bool
    """Leave prompts out that every reference sample solves: V* is 1, no response has an advantage above 0."""
    keep_mean_reward: tuple[Share, Share]
    """Leave prompts out whose mean reward, the pass rate where rewards are 0 or 1, is not between these."""

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        low, high = self.keep_mean_reward
        if low > high:
            raise ValueError(f"keep_mean_reward: {low} is above {high}")
        return self
