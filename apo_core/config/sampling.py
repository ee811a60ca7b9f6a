"""Stage 1: the distribution of responses, how they are sampled, and the values estimated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from apo_core.config.section import DType, Positive, PositiveFloat, Section, Share

GpuShare = Annotated[float, Field(gt=0, le=1)]


class Generation(Section):
    """The distribution of responses, in every stage: part of the value table's fingerprint.

    It is never truncated: with top_p or top_k the log-probs would be those of another distribution.
    """

    max_new_tokens: Positive
    """Tokens per response, at most."""
    stop_character: Annotated[str, Field(min_length=1, max_length=1)] | None
    """One character: every token that contains it ends a response, as the end-of-sequence token does. null:
    none."""
    temperature: PositiveFloat
    """Divisor of the logits."""

    def fingerprinted(self) -> dict[str, Any]:
        """The distribution as fingerprints of value tables hash it."""
        return self.model_dump(mode="json") | {"top_p": 1.0, "top_k": 0}


class Vllm(Section):
    """How vLLM is started; no key changes the distribution."""

    max_num_seqs: Positive
    """Responses decoded at once."""
    gpu_memory_utilization: GpuShare
    """Share of a GPU's memory (on CPU: of the machine's) that the engine takes."""
    kv_cache_gib: PositiveFloat | None
    """Size of the key-value cache in GiB; null: what `gpu_memory_utilization` leaves. The variable
    VLLM_CPU_KVCACHE_SPACE, if set, wins."""
    tensor_parallel_size: Positive
    """GPUs that one copy of the model is spread over; in training always 1."""
    enforce_eager: bool
    """Neither compile the model nor capture CUDA graphs: starts sooner, decodes slower."""


class VllmOverride(Section):
    """Keys of `sampler.vllm` that training sets differently; a key that is not written is as there."""

    max_num_seqs: Positive = 1
    """As `sampler.vllm.max_num_seqs`."""
    gpu_memory_utilization: GpuShare = 1.0
    """As `sampler.vllm.gpu_memory_utilization`, beside what the trainer always holds; what it needs for an
    update the engine leaves to it."""
    kv_cache_gib: PositiveFloat | None = None
    """As `sampler.vllm.kv_cache_gib`."""
    enforce_eager: bool = False
    """As `sampler.vllm.enforce_eager`."""


class Sampler(Section):
    """The engine that samples responses in stages `sample` and `evaluate`."""

    engine: Literal["transformers", "vllm"]
    """`vllm` needs the extra `vllm-cpu` or `gpu`."""
    vllm: Vllm
    """How vLLM is started, for training too; see `train.sampler.vllm_override`."""

    def vllm_in_training(self, override: VllmOverride) -> Vllm:
        """How each rank's engine is started: each has one GPU."""
        changed = override.model_dump(exclude_unset=True) | {"tensor_parallel_size": 1}
        return self.vllm.model_copy(update=changed)


class Adaptive(Section):
    """Sample only as many responses as the V* of a prompt needs: see `apo_core.values.pooled`."""

    first: Annotated[int, Field(ge=2)]
    """Responses to every prompt in the first round, and per further round."""
    deviation: PositiveFloat
    """Standard deviation of V*, in units of reward, at which a prompt gets no further responses."""
    beta1: PositiveFloat
    """Temperature of the V* that the deviation is of. Another `values.beta1` needs no new responses: V* stays
    right on average, but may be known less closely, with a larger one where prompts are often solved."""


class Sampling(Section):
    """Stage 1: how many responses per prompt, and how the work is divided."""

    n: Positive
    """Responses per prompt; with `adaptive` the most a prompt may get."""
    adaptive: Adaptive | None
    """A rule {first, deviation, beta1} by which prompts with a known V* get fewer responses; needs
    `values.estimate: pooled`. null: `n` for every prompt."""
    batch_size: Positive
    """Responses decoded at once by `sampler.engine: transformers`."""
    shard_prompts: Positive
    """Prompts per shard, the unit of work: a kill costs every worker the shard that it samples and, where the
    verifier takes long, the one that it scores meanwhile."""
    executor: Literal["local", "ray"]
    """Where workers run, in the evaluation too: on this machine, or on the Ray cluster of RAY_ADDRESS, whose
    machines must all see the workspace."""
    workers: Positive | None
    """Worker processes, each with an engine of its own, in the evaluation too. null: one per GPU (or per
    `sampler.vllm.tensor_parallel_size` of them), and one where there is none."""
    dtype: DType
    """Precision that the reference policy samples in."""

    @model_validator(mode="after")
    def _first_is_within(self) -> Self:
        if self.adaptive is not None and self.adaptive.first > self.n:
            raise ValueError(f"adaptive.first: {self.adaptive.first} is above n {self.n}")
        return self


class Values(Section):
    """V*(x) = beta1 ln E[exp(r / beta1)], and which prompts stage 2 uses."""

    estimate: Literal["published", "pooled"]
    """`published`: V* from the prompt's own N rewards, beta1 (logsumexp_i(r_i / beta1) - ln N). `pooled`:
    from these weighed against the rewards of all prompts, so that V* is not too high on prompts that were
    selected by the same samples; rules that drop prompts then judge by what is probable."""
    beta1: PositiveFloat
    """Temperature of V*, in units of reward: towards 0 V* is the best reward, towards infinity the mean
    reward."""
    drop_unsolved: bool
    """Leave prompts out of stage 2 that no sampled response solves; with `pooled` only if fewer than one in
    ten responses would, by a probability of 80%."""
    drop_solved: bool
    """Leave prompts out that every sampled response solves: V* is 1, no response has an advantage above 0.
    With `pooled` only if more than nine in ten responses would, by a probability of 80%."""
    keep_mean_reward: tuple[Share, Share]
    """[lowest, highest] mean reward (the pass rate, where rewards are 0 or 1) of prompts that stage 2
    uses; with `pooled` its posterior mean."""

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        low, high = self.keep_mean_reward
        if low > high:
            raise ValueError(f"keep_mean_reward: {low} is above {high}")
        return self
