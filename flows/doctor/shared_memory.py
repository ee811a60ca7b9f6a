"""Whether /dev/shm holds what a run puts there."""

from __future__ import annotations

from apo_core.config import Params
from apo_core.system.shared_memory import bytes_in_all, bytes_needed
from flows.doctor.inputs import Finding


def examine_shared_memory(params: Params) -> Finding:
    """Hold what GPUs exchange through /dev/shm against its size."""
    import torch

    vllm = params.sampler.vllm.tensor_parallel_size if params.sampler.engine == "vllm" else 1
    gpus = max(params.train.ranks, vllm) if torch.cuda.is_available() else 0
    return compare(bytes_needed(gpus=gpus), bytes_in_all())


def compare(needed: int, available: int) -> Finding:
    """Compare two numbers of bytes."""
    text = f"/dev/shm has {available / 2**20:,.0f} MiB, of which a run needs {needed / 2**20:,.0f}"
    if available < needed:
        text += "; start the container with a larger --shm-size (shm_size in Compose)"
    return Finding("shared memory", available >= needed, text)
