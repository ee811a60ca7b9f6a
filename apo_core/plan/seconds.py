"""Seconds of the parts of a run, from a model's shape and a device's rates: pure arithmetic.

Every part is bounded by arithmetic (floating point operations over the rate of large products) or by traffic
(bytes over the bandwidth of large reads). How close real code comes to either is a named share below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from apo_core.plan.hardware import Rates
from apo_core.plan.items import BYTES
from apo_core.plan.model_shape import ModelShape

ADAM_BYTES = 42  # per parameter: gradient, master and moments read, three of them written, clipping, the norm


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How close real code comes to what large operations reach, by kind of device."""

    passes: float  # of the rate of large products, in forward and backward passes of many tokens
    decoding: float  # of the same, for the few rows of a decoding batch
    layer_seconds: float  # of Python per layer of a token that transformers decodes
    engine_seconds: float  # of vLLM's scheduler and sampler per decoded token
    overlapped: bool  # a device reads while it multiplies, and Python runs ahead of it: the longest counts


# passes: 0.70 of the data sheet's rate (`hardware.PRODUCTS_SHARE`) times 0.60 is 0.42 of it, where all count,
# recomputed layers too. Published, where those do not: 7B on one and four H200, bfloat16, all
# layers computed twice, 0.58 and 0.54 (KempnerForge, benchmarks); Qwen2.5-7B on A800, nothing padded, kernels
# fused, 0.50 to 0.55 (LMMs-Engine, MFU reference); Llama 3 405B on 8,192 H100, 0.43 (arXiv 2407.21783).
# transformers fuses neither normalisation nor rotation: 0.42 is meant to be safe.
# layer_seconds: a layer of one token is about 40 kernels of transformers', launched in about 1 ms.
# engine_seconds: vLLM replays a graph, but schedules, samples and collects for 2 to 4 ms.
ON_GPU = Shares(passes=0.60, decoding=0.50, layer_seconds=1.1e-3, engine_seconds=3e-3, overlapped=True)
# Fitted to stage 1 and a step of `benchmarks/results/135m.md`, and of a processor of half the rate, in both
# precisions; `benchmarks.plan_check` holds them against other runs. A product packs what it reads first.
ON_CPU = Shares(passes=0.72, decoding=0.55, layer_seconds=0.25e-3, engine_seconds=4e-3, overlapped=False)


def shares_of(on_gpus: bool) -> Shares:
    """The shares of a kind of device."""
    return ON_GPU if on_gpus else ON_CPU


class Lengths(NamedTuple):
    """Lengths of responses, as if they were uniform around their mean and within the limit."""

    mean: float
    longest: float

    @property
    def shortest(self) -> float:
        """With `longest` as far from the mean."""
        return 2 * self.mean - self.longest

    @property
    def mean_position(self) -> float:
        """Of a sampled token in its response: E[length^2] / (2 E[length])."""
        low, high = self.shortest, self.longest
        return (low * low + low * high + high * high) / 3 / (2 * self.mean)

    def longest_of(self, rows: float) -> float:
        """What the longest of so many responses is expected to be."""
        return self.shortest + (self.longest - self.shortest) * rows / (rows + 1)


def lengths_of(mean: float, limit: int) -> Lengths:
    """Uniform between 0 and twice the mean, or between as much below the mean as the limit is above it."""
    return Lengths(mean, min(float(limit), 2 * mean))


def pass_flop(model: ModelShape, tokens: float, context: float) -> float:
    """Floating point operations of one forward pass through all layers, without the head.

    Two per weight and token, and for causal attention 2 x 2 x (heads x size) per token and token before it,
    of which there are half as many as the context is long.
    """
    return tokens * (2 * model.layer_weights + 4 * model.layers * model.attention * context / 2)


def head_flop(model: ModelShape, tokens: float) -> float:
    """Floating point operations of the logits of so many tokens."""
    return tokens * 2 * model.head_weights


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one step of training computes on one rank."""

    rows: float  # responses
    prompt_tokens: float
    response_tokens: float
    padding: float  # tokens computed per token that counts, 1 or more
    epochs: int
    checkpointing: bool
    lora: bool  # frozen weights get no gradient
    critic: bool
    reference: bool
    recorded: bool  # log-probs of the policy before its first update


def body_passes(update: Update) -> float:
    """Work of the layers in forward passes; a backward pass is two, or one without gradients of weights."""
    learning = (1 + (1 if update.lora else 2) + update.checkpointing) * update.epochs + update.recorded
    return learning * (2 if update.critic else 1) + update.reference


def head_passes(update: Update) -> float:
    """The same in the head, whose backward pass computes the logits again (`apo_core.model.head`)."""
    return (1 + (2 if update.lora else 3)) * update.epochs + update.recorded + update.reference


def update_seconds(model: ModelShape, update: Update, rates: Rates, dtype: str, shares: Shares) -> float:
    """Forward and backward passes of a step: of policy, critic and reference."""
    row = update.prompt_tokens + update.response_tokens
    tokens = update.rows * row * update.padding
    flop = body_passes(update) * pass_flop(model, tokens, row)
    flop += head_passes(update) * head_flop(model, update.rows * update.response_tokens)
    return flop / (rates.products(dtype) * shares.passes)


def optimizer_seconds(parameters: float, rates: Rates) -> float:
    """An optimizer step of so many parameters."""
    return parameters * ADAM_BYTES / rates.bandwidth


def prefill_seconds(
    model: ModelShape, prompts: float, tokens: float, rates: Rates, dtype: str, shares: Shares
) -> float:
    """Reading so many prompts of so many tokens; each gives logits of one token."""
    flop = pass_flop(model, prompts * tokens, tokens) + head_flop(model, prompts)
    return flop / (rates.products(dtype) * shares.passes)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How responses are sampled."""

    rows: float  # in all
    slots: float  # responses at once
    prompt_tokens: float
    lengths: Lengths
    vllm: bool  # a row that ends makes room for another; else a batch ends with its longest row


def decoding_waves(decoding: Decoding) -> list[tuple[float, float]]:
    """(decoded tokens one after another, responses at once) of a full engine, then of its end.

    A batch that nothing joins ends with its longest response; meanwhile its rows leave one by one.
    """
    rows, slots, lengths = decoding.rows, min(decoding.slots, decoding.rows), decoding.lengths
    if decoding.vllm:
        steps = lengths.longest_of(slots)
        full = (rows - slots) * lengths.mean / slots
        return [(full, slots), (steps, slots * lengths.mean / steps)]
    batches = rows / slots
    steps = lengths.longest_of(slots)
    return [(batches * steps, slots * lengths.mean / steps)]


def token_seconds(
    model: ModelShape, rows: float, context: float, rates: Rates, dtype: str, shares: Shares, vllm: bool
) -> float:
    """One token of each of so many rows: all weights and the rows' cache are read once."""
    size = BYTES[dtype]
    traffic = ((model.layer_weights + model.head_weights) + rows * context * model.cached) * size
    flop = pass_flop(model, rows, 2 * context) + head_flop(model, rows)
    read, multiply = traffic / rates.bandwidth, flop / (rates.products(dtype) * shares.decoding)
    work = max(read, multiply) if shares.overlapped else read + multiply
    if vllm:
        return work + shares.engine_seconds
    python = model.layers * shares.layer_seconds
    return max(work, python) if shares.overlapped else work + python


def decode_seconds(model: ModelShape, decoding: Decoding, rates: Rates, dtype: str, shares: Shares) -> float:
    """All responses, after their prompts have been read."""
    context = decoding.prompt_tokens + decoding.lengths.mean_position
    return sum(
        steps * token_seconds(model, rows, context, rates, dtype, shares, decoding.vllm)
        for steps, rows in decoding_waves(decoding)
    )


def reduce_seconds(numbers: float, size: int, ranks: int, link: float) -> float:
    """An all-reduce over a ring: every number passes each link twice, less its own part."""
    return 2 * numbers * size * (ranks - 1) / ranks / link


def gather_seconds(numbers: float, size: int, ranks: int, link: float) -> float:
    """An all-gather over a ring."""
    return numbers * size * (ranks - 1) / ranks / link
