"""The engine that the configuration names, over a model directory, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import saved_end_ids
from apo_core.sampling import Sampler, VllmSampler
from apo_core.sampling.vllm_sampler import vllm_version
from tasks.prompts.inputs import make_sampler


def engine_of(sampler: config.Sampler) -> dict[str, Any]:
    """What of the engine decides which responses a seed gives: shards of two engines are never mixed.

    The value table's fingerprint leaves the engine out: V* is an estimate for a distribution, every engine
    draws from the same one, and training may draw with another one than stage 1.

    Raises:
        ApoError: the engine is not installed.
    """
    if sampler.engine == "transformers":
        return {"engine": sampler.engine, "version": version("transformers")}
    return {"engine": sampler.engine, "version": vllm_version(), **sampler.vllm.model_dump(mode="json")}


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
    with VllmSampler(source, **arguments) as engine:
        yield engine


def vllm_arguments(
    settings: config.Vllm,
    source: ModelRef,
    tokenizer: PreTrainedTokenizerBase,
    *,
    stop: set[int],
    max_length: int,
) -> dict[str, Any]:
    """What `VllmSampler` is started with, beside the directory: see there."""
    return {
        "eos_ids": saved_end_ids(source.path, tokenizer) | stop,
        "max_length": max_length,
        **settings.model_dump(),
    }
