"""vLLM's transfer of weights, from memory of the host; only vLLM imports this, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from vllm.distributed.weight_transfer.base import WeightTransferUpdateInfo
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine

from apo_core.sampling.vllm_weights import unpacked


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):
    """A bucket of weights, one after the other in a buffer."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    tensor_sizes: list[int]
    buffer: Tensor


class SharedMemoryTransfer(IPCWeightTransferEngine):
    """Receives buckets as vLLM's IPC engine does on GPUs: layer by layer, into the weights in use."""

    update_info_cls = SharedMemoryUpdate

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load a bucket; there is no device to wait for."""
        self.parse_update_info(update_info)
        self.model.load_weights(unpacked(update_info))
