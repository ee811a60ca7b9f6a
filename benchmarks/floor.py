"""The floor: seconds of the workload's arithmetic and traffic at a machine's measured rates.

A phase's floor is its floating point operations at the rate of large matrix products, plus the bytes of
weights, key-value cache and optimizer state at the bandwidth of large reads: as if neither hid the other,
which on a processor is nearly so. Nothing else counts, neither softmax, normalisation and sampling nor
padding and Python. Shares of the floor compare implementations across machines.
"""

from __future__ import annotations

from typing import NamedTuple

from apo_core.plan.hardware import Rates
from apo_core.plan.items import BYTES
from apo_core.plan.model_shape import ModelShape
from apo_core.plan.seconds import head_flop, pass_flop
from benchmarks.workload import NEW_TOKENS, PROMPT_TOKENS

_ADAM_NUMBERS = 7  # of four bytes per parameter: gradient, master and moments read, three of them written
_ROW = PROMPT_TOKENS + NEW_TOKENS


class Work(NamedTuple):
    """What one phase has to do."""

    name: str
    dtype: str
    tokens: int  # read or sampled
    flop: float  # floating point operations of its matrix products and attention scores
    traffic: float  # bytes of weights, key-value cache or optimizer state

    def floor(self, rates: Rates) -> float:
        """Seconds."""
        return self.flop / rates.products(self.dtype) + self.traffic / rates.bandwidth


def sampling_work(model: ModelShape, dtype: str, *, prompts: int, samples: int) -> list[Work]:
    """Reading every prompt once, then all responses' tokens after the first, one after another.

    Args:
        model: whose responses are sampled.
        dtype: of products and weights.
        prompts: distinct ones.
        samples: responses per prompt.
    """
    rows, steps = prompts * samples, NEW_TOKENS - 1
    weights = (model.layer_weights + model.head_weights) * BYTES[dtype]
    context = PROMPT_TOKENS + NEW_TOKENS / 2
    cached = prompts * PROMPT_TOKENS + rows * NEW_TOKENS / 2  # a prompt's part is the same for its responses
    return [
        Work(
            name="prefill",
            dtype=dtype,
            tokens=prompts * PROMPT_TOKENS,
            flop=pass_flop(model, prompts * PROMPT_TOKENS, PROMPT_TOKENS) + head_flop(model, prompts),
            traffic=weights,
        ),
        Work(
            name=f"decode {rows} rows",
            dtype=dtype,
            tokens=rows * steps,
            # A decoded token sees all before it, not half of them.
            flop=pass_flop(model, rows * steps, 2 * context) + head_flop(model, rows * steps),
            traffic=steps * (weights + cached * model.cached * BYTES[dtype]),
        ),
    ]


def update_work(
    model: ModelShape, dtype: str, *, rows: int, reference: str | None, checkpointing: bool = False
) -> list[Work]:
    """One update on so many responses: log-probs by the reference policy, forward, backward, AdamW.

    Args:
        model: that learns.
        dtype: of its products.
        rows: responses.
        reference: precision of the reference policy; None without one.
        checkpointing: whether the layers are computed again in the backward pass.
    """
    tokens = rows * _ROW
    layers, head = pass_flop(model, tokens, _ROW), head_flop(model, rows * NEW_TOKENS)

    def work(name: str, precision: str, flop: float, reads: int) -> Work:
        weights = (model.layer_weights + model.head_weights) * BYTES[precision]
        return Work(name=name, dtype=precision, tokens=tokens, flop=flop, traffic=reads * weights)

    parts = [
        work("forward", dtype, layers + head, 1),
        work("backward", dtype, (3 if checkpointing else 2) * layers + 2 * head, 2),
        Work(
            name="optimizer",
            dtype=dtype,
            tokens=tokens,
            flop=0.0,
            traffic=model.parameters * _ADAM_NUMBERS * BYTES["float32"],
        ),
    ]
    if reference:
        parts.insert(0, work("reference log-probs", reference, layers + head, 1))
    return parts


def floor(works: list[Work], rates: Rates) -> float:
    """Seconds of several phases, one after another."""
    return sum(work.floor(rates) for work in works)
