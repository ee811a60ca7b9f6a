"""The engine that the configuration names, over a model directory, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core import config
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
    directory: Path,
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: str,
    batch_size: int,
    stop: set[int],
    max_length: int,
    trust_remote_code: bool,
) -> Iterator[Sampler]:
    """A sampler of the policy in a directory; one at a time, as vLLM asks.

    Args:
        sampler: names the engine.
        directory: of the policy.
        load: gives the same policy as a transformers model; not called for vLLM.
        tokenizer: of the policy.
        dtype: to compute in.
        batch_size: responses decoded at once by transformers.
        stop: tokens that end a response beside the policy's own.
        max_length: tokens of the longest prompt and its response together.
        trust_remote_code: let the directory's own Python run.
    """
    if sampler.engine == "transformers":
        yield make_sampler(load(), tokenizer, batch_size=batch_size, stop=stop)
        return
    given = vllm_arguments(
        sampler.vllm,
        directory,
        tokenizer,
        dtype=dtype,
        stop=stop,
        max_length=max_length,
        trust_remote_code=trust_remote_code,
    )
    with VllmSampler(directory, **given) as engine:
        yield engine


def vllm_arguments(
    settings: config.Vllm,
    directory: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: str,
    stop: set[int],
    max_length: int,
    trust_remote_code: bool,
) -> dict[str, Any]:
    """What `VllmSampler` is started with, beside the directory: see there."""
    return {
        "eos_ids": saved_end_ids(directory, tokenizer) | stop,
        "dtype": dtype,
        "max_length": max_length,
        "trust_remote_code": trust_remote_code,
        **settings.model_dump(),
    }
