"""Memory of a vLLM engine, and of the stages that sample with one or without."""

from __future__ import annotations

from dataclasses import dataclass

from apo_core.plan.items import BYTES, MIB, Item
from apo_core.plan.model_shape import ModelShape

PROCESS_MIB = 700.0  # Python with torch, transformers and DeepSpeed loaded, before any weight
CONTEXT_MIB = 600.0  # of a process on a GPU: driver, kernels, and the workspace of matrix products
NCCL_MIB = 500.0  # channels and buffers of one communicator between the GPUs of a host
# vLLM's own context, its graphs and buffers outside of the pools that sleep frees (weights, key-value cache).
ASLEEP_MIB = 2048.0
_VLLM_MIB = 1500.0  # vLLM in a process of its own, before any weight
_PROFILED_MIB = 2048.0  # what vLLM's largest batch of prompts takes beside weights and cache


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A vLLM engine as a rank or a worker starts it."""

    device_mib: float  # awake: weights, cache, graphs and context
    cache_mib: float  # of it, for keys and values
    host_mib: float  # beside the device's; 0 where the host is the device
    sleeps: bool = False  # while the policy learns


def vllm_engine(
    model: ModelShape,
    dtype: str,
    *,
    device_mib: float,
    share: float,
    cache_gib: float | None,
    gpus: int,
    on_gpus: bool,
    sleeps: bool = False,
) -> Engine:
    """Plan an engine: its share of each device, or weights and a cache of the size that is set.

    Args:
        model: what it samples from.
        dtype: of its weights and cache.
        device_mib: memory of a device.
        share: of it, `gpu_memory_utilization`.
        cache_gib: size of the key-value cache, if it is set.
        gpus: that the model is spread over.
        on_gpus: whether there are any.
        sleeps: whether it gives its memory back while the policy learns.
    """
    weights = model.parameters * BYTES[dtype] / MIB / gpus
    beside = _VLLM_MIB + (_PROFILED_MIB if on_gpus else 0.0)
    if cache_gib is not None:
        cache = cache_gib * 1024
        taken = weights + cache + beside
    else:
        taken = share * device_mib
        cache = taken - weights - beside
    return Engine(
        device_mib=taken, cache_mib=cache, host_mib=2 * _VLLM_MIB if on_gpus else 0.0, sleeps=sleeps
    )


def cached_rows(model: ModelShape, dtype: str, engine: Engine, row_tokens: float, gpus: int) -> int:
    """Responses of so many tokens, prompts included, whose keys and values the cache holds; at least 0."""
    per_token = model.cached * BYTES[dtype] / gpus
    return max(0, int(engine.cache_mib * MIB / (per_token * row_tokens)))


def plan_sampling(
    model: ModelShape,
    dtype: str,
    *,
    engine: Engine | None,
    rows: int,
    row_tokens: int,
    on_gpus: bool,
    workers: int,
    packed: bool,
) -> list[Item]:
    """List what one worker of stage `sample` takes, on its device and in the host's memory.

    Args:
        model: the reference policy.
        dtype: it samples in.
        engine: vLLM, or None where transformers decodes.
        rows: responses that transformers decodes at once.
        row_tokens: of the longest prompt with its response.
        on_gpus: whether there are any.
        workers: on one host; the host's memory is all of theirs.
        packed: whether decoding holds packed copies of the weights.
    """
    weights = model.parameters * BYTES[dtype] / MIB
    host = [Item("processes", workers * PROCESS_MIB, memory="host")] if on_gpus else []
    if engine is not None:
        host += [Item("vLLM's processes", workers * engine.host_mib, memory="host")]
        return [Item("vLLM", engine.device_mib), *host]
    cache = rows * row_tokens * model.cached * BYTES[dtype] / MIB
    return [
        Item("CUDA context" if on_gpus else "process", CONTEXT_MIB if on_gpus else PROCESS_MIB),
        Item("policy", weights),
        Item("packed weights", packed * weights),
        Item("key-value cache", cache),
        Item("logits of a token", rows * model.vocabulary * (BYTES[dtype] + 8) / MIB),
        *host,
    ]


def plan_log_ratios(
    model: ModelShape, dtype: str, *, micro_batch_tokens: int, chunk_tokens: int, on_gpus: bool
) -> list[Item]:
    """List what the KL of an evaluation takes: two models, and a layer's states, in one process."""
    states = micro_batch_tokens * (8 * model.hidden + 4 * model.attention) * BYTES[dtype] / MIB
    return [
        Item("CUDA context" if on_gpus else "process", CONTEXT_MIB if on_gpus else PROCESS_MIB),
        Item("policy and reference", 2 * model.parameters * BYTES[dtype] / MIB),
        Item("states of a layer", states),
        Item("logits of a chunk", chunk_tokens * model.vocabulary * 8 / MIB),
    ]
