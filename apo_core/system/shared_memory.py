"""The memory in /dev/shm, of which a container has 64 MiB by default."""

from __future__ import annotations

import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_BETWEEN_GPUS = 2**30


def bytes_needed(*, gpus: int) -> int:
    """How much of /dev/shm a training needs.

    What GPUs that work together exchange on the way, through NCCL. Weights on their way to vLLM need none
    (`apo_core.sampling.weight_buffer`), nor do ranks without GPUs, which exchange over the loopback network.

    Args:
        gpus: that work together, as ranks or for one copy of a model; 0 or 1 exchange nothing.

    Source: NCCL's user guide, troubleshooting, shared memory: `--shm-size=1g` for a container.
    """
    return _BETWEEN_GPUS if gpus > 1 else 0


def bytes_in_all() -> int:
    """The size of /dev/shm; 0 where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else 0
