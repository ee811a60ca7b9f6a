"""Start a vLLM engine, and the arguments that training adds; what a user can mend becomes one line."""

from __future__ import annotations

import warnings
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, get_args

import torch

from apo_core.errors import ApoError
from apo_core.sampling.vllm_weights import SHARED_MEMORY, register_shared_memory
from apo_core.system.imports import quick_imports
from apo_core.system.processes import set_parent_death_signal

if TYPE_CHECKING:
    from vllm.config import ModelConfig
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.worker.worker_base import WorkerBase


def start_engine(directory: Path, arguments: dict[str, Any]) -> LLMEngine:
    """Start an engine in this process, its libraries' warnings left out.

    Args:
        directory: the model's.
        arguments: vLLM's `EngineArgs`.

    Raises:
        ApoError: vLLM refuses the model, its arguments or the memory there is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with quick_imports():
            from vllm import EngineArgs
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.llm_engine import LLMEngine

        # With this context vLLM sizes its batches for throughput, not for a server's latency.
        context = UsageContext.LLM_CLASS
        try:
            engine_config = EngineArgs(model=str(directory), **arguments).create_engine_config(context)
            _check_head_size(engine_config.model_config)
            return LLMEngine.from_vllm_config(engine_config, context, disable_log_stats=True)
        except (ValueError, NotImplementedError, torch.OutOfMemoryError) as error:
            problem = f"{directory}: vLLM does not start (see its settings, sampler.vllm): {_reason(error)}"
            raise ApoError(problem) from error


def transfer_arguments(gpu_shared: bool) -> dict[str, Any]:
    """Arguments of an engine that gets its weights from a trainer.

    Args:
        gpu_shared: from the memory of the GPU that both use, which vLLM leaves while it sleeps; else from the
            host's.
    """
    if gpu_shared:
        return {"weight_transfer_config": {"backend": "ipc"}, "enable_sleep_mode": True}
    register_shared_memory()
    return {"weight_transfer_config": {"backend": SHARED_MEMORY}}


def adapter_arguments(rank: int) -> dict[str, Any]:
    """Arguments of an engine with one adapter, which has room for the next of the ranks that vLLM knows."""
    from vllm.config.lora import MaxLoRARanks

    room = min((known for known in get_args(MaxLoRARanks) if known >= rank), default=rank)
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}


def die_with_parent(worker: WorkerBase) -> None:
    """End with the parent process; runs in each of the engine's processes."""
    set_parent_death_signal()


def _check_head_size(model: ModelConfig) -> None:
    """On CPU vLLM finds out when it decodes the first token, by an error that names no model."""
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    supported = CPUAttentionBackend.get_supported_head_sizes()
    size = model.get_head_size()
    if current_platform.is_cpu() and not model.use_mla and size not in supported:
        raise ValueError(
            f"its attention heads are {size} wide, and on CPU vLLM computes {', '.join(map(str, supported))}"
        )


def _reason(error: Exception) -> str:
    """What is wrong in one line: pydantic's first says how many things are, others list every alternative."""
    from pydantic import ValidationError  # vLLM's; not where there is none

    message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return shorten(message.removeprefix("Value error, ").strip().split("\n", 1)[0], 400, placeholder=" ...")
