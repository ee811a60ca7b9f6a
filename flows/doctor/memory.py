"""The memory plans of a configuration: which model it has, and what every stage takes of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from apo_core.config import Params, Reference
from apo_core.config.sampling import Vllm
from apo_core.errors import ApoError
from flows.workspaces import shipped
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from apo_core.plan.engine_memory import Engine
    from apo_core.plan.hardware import Machine
    from apo_core.plan.items import Item
    from apo_core.plan.model_shape import ModelShape


class StageMemory(NamedTuple):
    """What a stage takes, per process that has a device of its own."""

    stage: str
    processes: int
    items: list[Item]


def memory_plan(
    params: Params, config: PretrainedConfig, model: ModelShape, machine: Machine
) -> list[StageMemory]:
    """List what takes memory in every stage that holds a model.

    Args:
        params: the configuration.
        config: of its model.
        model: the model's counts.
        machine: that it runs on.
    """
    sampling, evaluation = params.sampling, params.evaluation
    ratios = _log_ratios(params, model, machine)
    return [
        _sampling("sample", params, model, machine, rows=sampling.batch_size, dtype=sampling.dtype),
        StageMemory("train", params.train.ranks, training_items(params, config, model, machine)),
        _sampling("evaluate", params, model, machine, rows=evaluation.batch_size, dtype=evaluation.dtype),
        StageMemory("evaluate, KL", sampling_workers(params, machine), ratios),
    ]


def training_items(
    params: Params, config: PretrainedConfig, model: ModelShape, machine: Machine
) -> list[Item]:
    """List what takes memory on one rank while this configuration trains."""
    import torch

    from apo_core.algorithms import make_algorithm
    from apo_core.model.acceleration import packs_weights
    from apo_core.plan.training_memory import TrainingShape, plan_training

    train, on_gpus = params.train, machine.gpus > 0
    algorithm = make_algorithm(**params.algorithm.model_dump())
    batch_rows = train.batch_size // train.ranks * algorithm.responses
    vllm = train.sampler.engine == "vllm"
    engine = None
    if vllm:
        options = params.sampler.vllm_in_training(train.sampler.vllm_override)
        engine = engine_of(options, model, train.dtype, machine, sleeps=on_gpus)
    training = TrainingShape(
        config=config,
        model=model,
        dtype=train.dtype,
        prompt_tokens=params.template.max_prompt_tokens,
        new_tokens=params.generation.max_new_tokens,
        rollout_rows=0 if vllm else min(train.rollout_batch_size, batch_rows),
        batch_rows=batch_rows,
        micro_batch_tokens=train.micro_batch_tokens,
        gradient_checkpointing=train.gradient_checkpointing,
        attention=train.attention,
        ranks=train.ranks,
        zero_stage=train.zero_stage,
        offload=train.offload if on_gpus else "none",  # else it is the same memory
        reference_dtype=(train.reference_dtype or train.dtype) if algorithm.needs_reference else None,
        chunk_tokens=_chunk_tokens(on_gpus),
        on_gpus=on_gpus,
        critic=algorithm.critic_rate is not None,
        lagging=algorithm.sync_every is not None,
        responses_per_loss=algorithm.responses_per_loss,
        lora_rank=train.lora.rank if train.lora else None,
        packed=not vllm and not on_gpus and packs_weights(getattr(torch, train.dtype), "cpu"),
        engine=engine,
        trust_remote_code=params.trust_remote_code,
        kept_checkpoints=train.checkpoint.keep + 2,  # the best one, and the one being written
    )
    return plan_training(training)


def engine_of(
    options: Vllm, model: ModelShape, dtype: str, machine: Machine, *, sleeps: bool = False
) -> Engine:
    """Plan vLLM's memory: its share of the GPU, or of the machine on CPU, unless its cache size is set."""
    from apo_core.plan.engine_memory import vllm_engine

    return vllm_engine(
        model,
        dtype,
        device_mib=machine.device_mib,
        share=options.gpu_memory_utilization,
        cache_gib=options.kv_cache_gib,
        gpus=options.tensor_parallel_size if machine.gpus else 1,
        on_gpus=machine.gpus > 0,
        sleeps=sleeps,
    )


def sampling_workers(params: Params, machine: Machine) -> int:
    """Workers of stages sample and evaluate: as many as there are GPUs for, unless the configuration says."""
    asked: int | None = params.sampling.workers
    return asked or max(1, machine.gpus // gpus_per_worker(params))


def gpus_per_worker(params: Params) -> int:
    """GPUs that a model is spread over in stages sample and evaluate."""
    vllm = params.sampler.engine == "vllm"
    return params.sampler.vllm.tensor_parallel_size if vllm else 1


def _sampling(
    stage: str, params: Params, model: ModelShape, machine: Machine, *, rows: int, dtype: str
) -> StageMemory:
    import torch

    from apo_core.model.acceleration import packs_weights
    from apo_core.plan.engine_memory import plan_sampling

    workers, on_gpus = sampling_workers(params, machine), machine.gpus > 0
    vllm = params.sampler.engine == "vllm"
    items = plan_sampling(
        model,
        dtype,
        engine=engine_of(params.sampler.vllm, model, dtype, machine) if vllm else None,
        rows=rows,
        row_tokens=params.template.max_prompt_tokens + params.generation.max_new_tokens,
        on_gpus=on_gpus,
        workers=workers,
        packed=not on_gpus and packs_weights(getattr(torch, dtype), "cpu"),
    )
    return StageMemory(stage, workers, items)


def _log_ratios(params: Params, model: ModelShape, machine: Machine) -> list[Item]:
    from apo_core.plan.engine_memory import plan_log_ratios

    return plan_log_ratios(
        model,
        params.evaluation.dtype,
        micro_batch_tokens=params.evaluation.micro_batch_tokens,
        chunk_tokens=_chunk_tokens(machine.gpus > 0),
        on_gpus=machine.gpus > 0,
    )


def _chunk_tokens(on_gpus: bool) -> int:
    from apo_core.model.head import chunk_tokens_on  # with torch

    return chunk_tokens_on("cuda" if on_gpus else "cpu")


def planned_model(workspace: Workspace, params: Params) -> tuple[PretrainedConfig, ModelShape]:
    """The configuration of the reference policy, and its counts.

    Raises:
        ApoError: it is not to be had, or its architecture cannot be trained here.
    """
    from apo_core.model.architecture_checks import check_states
    from apo_core.plan.model_shape import model_shape

    config = model_config(workspace, params.reference, params.trust_remote_code)
    check_states(config)
    return config, model_shape(config, params.trust_remote_code)


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
