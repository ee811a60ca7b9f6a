"""The plan of a configuration's hours on a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apo_core.config import Params
from apo_core.config.sampling import Vllm
from flows.doctor.memory import engine_of, sampling_workers
from flows.doctor.workload import Workload

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from apo_core.plan.hardware import Machine
    from apo_core.plan.model_shape import ModelShape
    from apo_core.plan.run_shape import RunShape, SamplerShape

# Of one response, by one worker: sympy compares what the rules of `math` do not.
_SLOW_SECONDS, _QUICK_SECONDS = 0.02, 0.002
_SLOW_VERIFIERS = ("math", "code")


def run_shape(
    params: Params, config: PretrainedConfig, model: ModelShape, workload: Workload, machine: Machine
) -> RunShape:
    """What decides how long the configuration runs on the machine."""
    from apo_core.algorithms import make_algorithm
    from apo_core.algorithms.base import records_policy
    from apo_core.plan.model_shape import adapter_parameters
    from apo_core.plan.run_shape import RunShape

    train, sampling, evaluation = params.train, params.sampling, params.evaluation
    algorithm = make_algorithm(**params.algorithm.model_dump())
    trained = model.parameters * (1 if algorithm.critic_rate is None else 2)
    if train.lora is not None:
        trained = adapter_parameters(config, train.lora.rank, params.trust_remote_code)
    sampler = _sampler(params.sampler.engine, params.sampler.vllm, sampling.batch_size)
    in_training = params.sampler.vllm_in_training(train.sampler.vllm_override)
    train_sampler = _sampler(train.sampler.engine, in_training, train.rollout_batch_size)
    row_tokens = workload.prompt_tokens + workload.response_tokens
    on_gpus = machine.gpus > 0
    own_cores = max(1, machine.cores // max(train.ranks, sampling_workers(params, machine)))
    return RunShape(
        model=model,
        prompt_tokens=workload.prompt_tokens,
        response_tokens=workload.response_tokens,
        max_new_tokens=params.generation.max_new_tokens,
        score_seconds=max(_score_seconds(rule.name) for rule in params.verifier),
        score_workers=max(rule.processes(own_cores) for rule in params.verifier),
        prompts=workload.train_prompts,
        n=workload.responses_per_prompt,
        shard_prompts=sampling.shard_prompts,
        workers=sampling_workers(params, machine),
        sampling_dtype=sampling.dtype,
        sampler=_within_cache(sampler, params.sampler.vllm, model, sampling.dtype, machine, row_tokens),
        steps=workload.steps(params),
        batch_size=train.batch_size,
        responses=algorithm.responses,
        epochs=algorithm.epochs,
        minibatches=algorithm.minibatches,
        reference=algorithm.needs_reference,
        # What vLLM sampled is compared with the policy before its first update.
        recorded=records_policy(algorithm) and (algorithm.needs_old_log_probs or train_sampler.vllm),
        critic=algorithm.critic_rate is not None,
        lagging_every=algorithm.sync_every,
        trained=trained,
        lora=train.lora is not None,
        dtype=train.dtype,
        ranks=train.ranks,
        zero_stage=train.zero_stage,
        offload=train.offload if on_gpus else "none",
        checkpointing=train.gradient_checkpointing,
        micro_batch_tokens=train.micro_batch_tokens,
        train_sampler=_within_cache(train_sampler, in_training, model, train.dtype, machine, row_tokens),
        sleeps=on_gpus,
        checkpoint_every=train.checkpoint.every,
        eval_prompts=workload.eval_prompts,
        eval_samples=evaluation.samples,
        eval_shard_prompts=evaluation.shard_prompts,
        evaluation_dtype=evaluation.dtype,
    )


def _score_seconds(verifier: str) -> float:
    return _SLOW_SECONDS if verifier in _SLOW_VERIFIERS else _QUICK_SECONDS


def _sampler(engine: str, options: Vllm, rows: int) -> SamplerShape:
    from apo_core.plan.run_shape import SamplerShape

    if engine == "transformers":
        return SamplerShape(vllm=False, slots=rows)
    return SamplerShape(
        vllm=True,
        slots=options.max_num_seqs,
        gpus=options.tensor_parallel_size,
        eager=options.enforce_eager,
    )


def _within_cache(
    sampler: SamplerShape, options: Vllm, model: ModelShape, dtype: str, machine: Machine, row_tokens: float
) -> SamplerShape:
    """With as many responses at once as the cache of vLLM holds."""
    from apo_core.plan.engine_memory import cached_rows

    if not sampler.vllm:
        return sampler
    held = cached_rows(model, dtype, engine_of(options, model, dtype, machine), row_tokens, sampler.gpus)
    return replace(sampler, slots=max(1, min(sampler.slots, held)))
