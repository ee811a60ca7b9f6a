"""The memory plan of a configuration: which model it trains, and what that takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.config import Params, Reference
from apo_core.config.sampling import Vllm
from apo_core.errors import ApoError
from flows.workspaces import shipped
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from apo_core.model.memory_plan import Item

_VLLM_MIB = 1500.0  # vLLM in a process of its own, before any weight


def memory_plan(workspace: Workspace, params: Params) -> list[Item]:
    """List what takes memory while this configuration trains.

    Raises:
        ApoError: the model's configuration is not to be had, or its architecture cannot be trained here.
    """
    import torch

    from apo_core.algorithms import make_algorithm
    from apo_core.model.acceleration import packs_weights
    from apo_core.model.architecture_checks import check_states
    from apo_core.model.loading import device
    from apo_core.model.memory_plan import TrainingShape, plan_training

    train, generation = params.train, params.generation
    algorithm = make_algorithm(**params.algorithm.model_dump())
    batch_rows = train.batch_size // train.ranks * algorithm.responses
    engine = train.sampler.engine == "vllm"
    vllm = params.sampler.vllm_in_training(train.sampler.vllm_override)
    model = model_config(workspace, params.reference, params.trust_remote_code)
    check_states(model)
    shape = TrainingShape(
        config=model,
        dtype=train.dtype,
        prompt_tokens=params.template.max_prompt_tokens,
        new_tokens=generation.max_new_tokens,
        rollout_rows=0 if engine else min(train.rollout_batch_size, batch_rows),
        batch_rows=batch_rows,
        micro_batch_tokens=train.micro_batch_tokens,
        gradient_checkpointing=train.gradient_checkpointing,
        ranks=train.ranks,
        zero_stage=train.zero_stage,
        offload=train.offload if torch.cuda.is_available() else "none",  # else it is the same memory
        reference_dtype=(train.reference_dtype or train.dtype) if algorithm.needs_reference else None,
        critic=algorithm.critic_rate is not None,
        lagging=algorithm.sync_every is not None,
        responses_per_loss=algorithm.responses_per_loss,
        lora_rank=train.lora.rank if train.lora else None,
        packed=not engine and packs_weights(getattr(torch, train.dtype), device().type),
        engine_mib=_engine_mib(vllm, model, train.dtype, params.trust_remote_code) if engine else 0.0,
        trust_remote_code=params.trust_remote_code,
        device=device().type,
        kept_checkpoints=train.checkpoint.keep + 2,  # the best one, and the one being written
    )
    return plan_training(shape)


def machine_mib(ranks: int) -> float:
    """Memory that a rank may take: its accelerator's, or its share of the machine's where there is none."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory / 2**20)
    return float(psutil.virtual_memory().total / 2**20 / ranks)


def _engine_mib(vllm: Vllm, model: PretrainedConfig, dtype: str, trust_remote_code: bool) -> float:
    """Plan vLLM's memory: its share of the GPU, or of the machine on CPU, unless its cache size is set."""
    from apo_core.model.memory_plan import weights_mib

    if vllm.kv_cache_gib is not None:
        return vllm.kv_cache_gib * 1024 + weights_mib(model, dtype, trust_remote_code) + _VLLM_MIB
    return vllm.gpu_memory_utilization * machine_mib(ranks=1)


def model_config(workspace: Workspace, reference: Reference, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration of the reference policy, without its weights.

    Raises:
        ApoError: it is not to be had.
    """
    from transformers import AutoConfig

    from apo_core.model.directory import check_model_directory

    if reference.source == "scratch":
        from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_config

        scratch = reference.scratch
        return tiny_config(
            character_tokenizer(), hidden_size=scratch.hidden_size, layers=scratch.layers, heads=scratch.heads
        )
    if reference.source == "directory":
        check_model_directory(workspace.raw_model)
        source: Path | str | None = workspace.raw_model
    else:
        source = _shape_file(reference) or reference.name
    try:
        return AutoConfig.from_pretrained(
            source, revision=reference.revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        problem = str(error).strip().splitlines()[0]
        raise ApoError(f"{source}: its config.json cannot be read: {problem}") from None


def _shape_file(reference: Reference) -> Path | None:
    """The shape of a preset's model comes with the package: a plan needs no hub."""
    if reference.name is None:
        return None
    file = shipped("presets") / "shapes" / f"{reference.name.rsplit('/', 1)[-1]}.json"
    return file if file.exists() else None
