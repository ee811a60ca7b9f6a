"""What happens in vLLM's workers to weights and adapters that a trainer hands over.

The functions of a worker are called through `collective_rpc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from apo_core.errors import ApoError

if TYPE_CHECKING:
    from vllm.lora.model_manager import LoRAModelManager
    from vllm.v1.worker.worker_base import WorkerBase

ADAPTER_ID = 1
SHARED_MEMORY = "apo_shared_memory"


def register_shared_memory() -> None:
    """Tell vLLM of the transfer through the host's memory; its own are for GPUs."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    if SHARED_MEMORY not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            SHARED_MEMORY, "apo_core.sampling.vllm_shared_memory", "SharedMemoryTransfer"
        )


def unpacked(update: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """Copies of a bucket's weights: the next bucket takes their place before vLLM has used them all.

    vLLM keeps what it is given until all weights of a layer have come (0.32,
    vllm/model_executor/model_loader/reload/layerwise.py:194).
    """
    pieces = update["buffer"][: sum(update["tensor_sizes"])].split(update["tensor_sizes"])
    return [
        (name, piece.view(getattr(torch, dtype)).view(shape).clone())
        for name, dtype, shape, piece in zip(
            update["names"], update["dtype_names"], update["shapes"], pieces, strict=True
        )
    ]


def receive(worker: WorkerBase, update: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """Copies of what a bucket holds, from either kind of memory."""
    if "buffer" in update:
        return unpacked(update)
    from vllm.distributed.weight_transfer.packed_tensor import packed_ipc_consumer

    transfer = worker.weight_transfer_engine
    weights: list[tuple[str, Tensor]] = packed_ipc_consumer(
        ipc_handle=update["ipc_handles"],
        names=update["names"],
        shapes=update["shapes"],
        dtype_names=update["dtype_names"],
        tensor_sizes=update["tensor_sizes"],
        device_index=transfer.device.index,
        importer=transfer._packed_importer,
    )
    # They are copied in the GPU's own time, and the next bucket will lie where they are read from; so does
    # vLLM's own way of taking weights (0.32, vllm/distributed/weight_transfer/base.py:499).
    torch.accelerator.synchronize()
    return weights


def replace_adapter(worker: WorkerBase, tensors: dict[str, Tensor], rank: int, alpha: float) -> None:
    """Put these weights in the adapter's place, without a file: what vLLM's `_load_adapter` does with one.

    Source: vLLM 0.32, vllm/lora/worker_manager.py:104.

    Raises:
        ApoError: vLLM has no adapter for one of the layers.
    """
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper

    worker.weight_transfer_engine._packed_importer.close()  # all of it has come
    manager = worker.model_runner.lora_manager._adapter_manager
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    adapter = LoRAModel.from_lora_tensors(
        ADAPTER_ID,
        tensors,
        PEFTHelper(r=rank, lora_alpha=alpha, target_modules="all-linear"),
        device="cpu",  # as `_load_adapter` has it: beside an engine that sleeps, memory is the trainer's
        dtype=manager.lora_config.lora_dtype,
        weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
    )
    _check_layers(manager, adapter.loras)
    manager.remove_adapter(ADAPTER_ID)
    manager.add_adapter(adapter)
    manager.activate_adapter(ADAPTER_ID)


def _check_layers(manager: LoRAModelManager, layers: dict[str, Any]) -> None:
    """Without this vLLM would leave out what it does not know."""
    known = {*manager.modules, *(part for parts in manager.packed_modules.values() for part in parts)}
    unknown = sorted(layers.keys() - known)
    if unknown:
        raise ApoError(
            f"train.lora: vLLM has no adapters for {unknown[0]} of this model; "
            "train with train.sampler.engine=transformers, or in train.dtype=float32"
        )


def pack_tied_heads(worker: WorkerBase) -> None:
    """On CPU an output embedding computes with a packed copy of its weights.

    vLLM makes it anew as it loads the weights; a head that is tied to the input embedding has none to load.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in worker.get_model().modules():
        if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)
