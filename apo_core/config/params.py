"""All of `params.yaml`, and the rules between its sections."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from apo_core.config.algorithm import Algorithm
from apo_core.config.inputs import Arithmetic, Data, Reference, Template
from apo_core.config.outcome import Evaluation, Pipeline, Promotion, Tracking
from apo_core.config.sampling import Generation, Sampler, Sampling, Values
from apo_core.config.section import Section
from apo_core.config.training import Train
from apo_core.config.verifier import Verifiers

_VLLM_MIN_TEMPERATURE = 0.01  # what it silently samples at instead of less


class Params(Section):
    """All of `params.yaml`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of everything random."""
    trust_remote_code: bool
    """Run Python code that comes with a model directory."""
    arithmetic: Arithmetic
    reference: Reference
    data: Data
    template: Template
    verifier: Verifiers
    generation: Generation
    sampler: Sampler
    sampling: Sampling
    values: Values
    algorithm: Algorithm
    train: Train
    evaluation: Evaluation
    promotion: Promotion
    tracking: Tracking
    pipeline: Pipeline

    @model_validator(mode="after")
    def _stage_1_agrees(self) -> Self:
        adaptive = self.sampling.adaptive
        if adaptive is not None and self.values.estimate != "pooled":
            # A prompt's first few rewards agree by chance, and prove nothing by themselves.
            raise ValueError(
                f"sampling.adaptive: needs values.estimate: pooled, found {self.values.estimate}; "
                "set sampling.adaptive to null to keep it"
            )
        if self.values.estimate == "pooled" and min(self.sampling.n, adaptive.first if adaptive else 2) < 2:
            # One sample of each does not show how much prompts differ.
            raise ValueError("values.estimate: pooled needs two samples of every prompt, or more")
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.reference.source == "scratch" and self.data.source != "arithmetic":
            raise ValueError("reference.source: scratch only learns data.source: arithmetic")
        if self.reference.source == "scratch" and self.template.style == "chat":
            raise ValueError("template.style: chat needs a model with a chat template, not scratch")
        share = self.train.ranks * self.algorithm.minibatches
        if self.train.batch_size % share:
            raise ValueError(
                f"algorithm.minibatches: batch_size {self.train.batch_size} is not a multiple of them times "
                f"ranks, {share}"
            )
        if self.algorithm.name == "oapl" and self.train.sampler.engine == "vllm":
            raise ValueError("train.sampler.engine: the lagging copy of oapl samples with transformers only")
        if self.algorithm.name == "oapl" and self.train.lora is not None and self.train.dtype == "bfloat16":
            # The copy is of plain weights, and bfloat16 cannot tell them from those without adapters.
            raise ValueError("train.lora: with algorithm oapl only in dtype float32")
        engines = (self.sampler.engine, self.train.sampler.engine)
        if "vllm" in engines and self.generation.temperature < _VLLM_MIN_TEMPERATURE:
            raise ValueError(
                f"sampler.engine: vllm needs generation.temperature of at least {_VLLM_MIN_TEMPERATURE}"
            )
        for verifier in self.verifier:
            overlong = verifier.overlong
            if overlong is not None and overlong.buffer_tokens >= self.generation.max_new_tokens:
                raise ValueError(
                    f"verifier.overlong.buffer_tokens: {overlong.buffer_tokens} is not less than "
                    f"generation.max_new_tokens, {self.generation.max_new_tokens}"
                )
        return self
