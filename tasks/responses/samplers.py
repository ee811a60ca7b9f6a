"""Open the engine that the configuration names over a model directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, saved_end_ids
from apo_core.sampling import Sampler, TransformersSampler, VllmSampler


@contextmanager
def open_sampler(
    sampler: config.Sampler,
    source: ModelRef,
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    stop: set[int],
    max_length: int,
) -> Iterator[Sampler]:
    """A sampler of the policy in a directory; one at a time, as vLLM asks.

    Args:
        sampler: names the engine.
        source: the policy's directory.
        load: gives the same policy as a transformers model; not called for vLLM.
        tokenizer: of the policy.
        batch_size: responses decoded at once by transformers.
        stop: tokens that end a response beside the policy's own.
        max_length: tokens of the longest prompt and its response together.
    """
    if sampler.engine == "transformers":
        yield make_sampler(load(), tokenizer, batch_size=batch_size, stop=stop)
        return
    arguments = vllm_arguments(sampler.vllm, source, tokenizer, stop=stop, max_length=max_length)
    with VllmSampler(source, **arguments) as vllm_sampler:
        yield vllm_sampler


def make_sampler(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int, stop: set[int]
) -> TransformersSampler:
    """A sampler of a loaded model; tokens in `stop` end its responses too."""
    return TransformersSampler(
        model,
        eos_ids=end_ids(model, tokenizer) | stop,
        pad_id=tokenizer.pad_token_id,
        batch_size=batch_size,
    )


def vllm_arguments(
    options: config.Vllm,
    source: ModelRef,
    tokenizer: PreTrainedTokenizerBase,
    *,
    stop: set[int],
    max_length: int,
) -> dict[str, Any]:
    """Keyword arguments of `VllmSampler`, which explains them."""
    return {
        "eos_ids": saved_end_ids(source.path, tokenizer) | stop,
        "max_length": max_length,
        **options.model_dump(),
    }
