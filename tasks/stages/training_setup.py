"""What stage `train` trains with: prompts, models in their engine, sampler, scorer, checkpoints and guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import nn
from transformers import PreTrainedModel

from apo_core import config
from apo_core.algorithms import Algorithm
from apo_core.errors import InputError
from apo_core.model.critic import Critic, PolicyAndCritic
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import AdaptersOff, add_adapters
from apo_core.model.template import Template
from apo_core.sampling import Sampler
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.system.heap import keep_heap
from apo_core.tables import read_metadata
from apo_core.training import ranks
from apo_core.training.canary import canary_tokens
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.context import ReferenceLogProbs, TrainingContext, TrainingSet
from apo_core.training.engine import start_engine
from apo_core.training.guard import Guard
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.training.mismatch import MAX_SAMPLER_KL
from apo_core.training.policy_copy import LaggingCopy
from apo_core.training.synchronised_vllm import SynchronisedVllm
from apo_core.verifiers import ErrorBudget
from tasks.prompts.table import to_questions
from tasks.responses.samplers import make_sampler, vllm_arguments
from tasks.responses.scoring import max_error_share, scorer_of

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True, kw_only=True)
class Learner:
    """The policy in its engine, and the models that its algorithm needs beside it."""

    policy: PreTrainedModel
    engine: Any  # DeepSpeed's, over the policy's log-probs
    adapters: PeftModel | None
    reference: ReferenceLogProbs | None  # the lagging copy where the algorithm has one
    lagging: LaggingCopy | None


@contextmanager
def open_context(
    source: ModelRef,
    template: Template,
    training_set: TrainingSet,
    *,
    algorithm: Algorithm,
    generation: config.Generation,
    verifier: config.Verifiers,
    verifiers: Path,
    train: config.Train,
    vllm: config.Vllm,
    stop: set[int],
    max_length: int,
    seed: int,
) -> Iterator[TrainingContext]:
    """Everything that a training step needs, for as long as its sampler and scorer are open.

    Args:
        source: the reference policy's directory, from which all models begin.
        template: over its tokenizer.
        training_set: what is trained on.
        algorithm: decides which models there are.
        generation: how responses are sampled.
        verifier: what scores them.
        verifiers: directory of the user's own verifiers.
        train: everything else.
        vllm: how the engines of `train.sampler.engine: vllm` are started.
        stop: tokens that end a response beside the policy's own.
        max_length: tokens of the longest prompt and its response together.
        seed: of adapters and of sampling.
    """
    learner = make_learner(source, generation, algorithm, train, seed)
    recent = train.guard.window * train.batch_size * algorithm.responses  # responses the error share is of
    with (
        scorer_of(
            verifier, verifiers, rows=recent, prompt_template=template, own_cores=ranks.own_cores()
        ) as scorer,
        _open_sampler(source, learner, template, training_set, train, vllm, stop, max_length) as sampler,
    ):
        yield TrainingContext(
            engine=learner.engine,
            algorithm=algorithm,
            reference=learner.reference,
            adapters=learner.adapters,
            lagging=learner.lagging,
            sampler=sampler,
            template=template,
            scorer=scorer,
            errors=ErrorBudget(max_error_share(verifier), rows=recent, batches=train.guard.window),
            prompts=training_set,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            micro_batch_tokens=train.micro_batch_tokens,
            importance_limit=train.importance_limit,
            pad_id=template.tokenizer.pad_token_id,
            seed=seed,
        )


def make_learner(
    source: ModelRef, generation: config.Generation, algorithm: Algorithm, train: config.Train, seed: int
) -> Learner:
    """Load the policy into its engine, and what the algorithm needs beside it, all with the same weights."""
    if not train.gradient_checkpointing:
        keep_heap()
    temperature = generation.temperature
    policy, adapters = _load_trained(source, train, seed)
    log_probs = ResponseLogProbs(policy, temperature=temperature)
    module: nn.Module = log_probs
    critic_rate = algorithm.critic_rate
    if critic_rate is not None:
        module = PolicyAndCritic(log_probs, Critic(_load_trained(source, train, seed)[0]))
    reference: ReferenceLogProbs | None = None
    if algorithm.needs_reference and algorithm.sync_every is None:
        if adapters is not None:
            reference = AdaptersOff(log_probs, adapters)
        else:
            frozen = load_policy(replace(source, dtype=train.reference_dtype or train.dtype))
            reference = ResponseLogProbs(frozen.requires_grad_(False), temperature=temperature)
    engine = start_engine(
        module,
        learning_rate=train.learning_rate,
        adam_betas=train.adam_betas,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        dtype=train.dtype,
        zero_stage=train.zero_stage,
        offload=train.offload,
        other_rates=None if critic_rate is None else {"critic": critic_rate * train.learning_rate},
    )
    lagging = None
    if algorithm.sync_every is not None:
        lagging = LaggingCopy(engine, load_policy(source), temperature=temperature)
    return Learner(
        policy=policy, engine=engine, adapters=adapters, reference=lagging or reference, lagging=lagging
    )


def _load_trained(
    source: ModelRef, train: config.Train, seed: int
) -> tuple[PreTrainedModel, PeftModel | None]:
    """A model to be trained, with its adapters where only these are."""
    model = load_policy(source)
    adapters = None if train.lora is None else add_adapters(model, **train.lora.model_dump(), seed=seed)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, adapters


@contextmanager
def _open_sampler(
    source: ModelRef,
    learner: Learner,
    template: Template,
    training_set: TrainingSet,
    train: config.Train,
    vllm: config.Vllm,
    stop: set[int],
    max_length: int,
) -> Iterator[Sampler]:
    """A sampler of the policy as it is at each call, or of its lagging copy."""
    if train.sampler.engine == "transformers":
        model = learner.policy if learner.lagging is None else learner.lagging.model
        sampler = make_sampler(model, template.tokenizer, batch_size=train.rollout_batch_size, stop=stop)
        yield InPlaceSampler(learner.engine, sampler) if learner.lagging is None else sampler
        return
    arguments = vllm_arguments(vllm, source, template.tokenizer, stop=stop, max_length=max_length)
    gpu = learner.engine.device.index
    rank = _rank_of_adapters(train)
    with VllmProcess(source, gpu=gpu, lora_rank=rank, keep_log_probs=True, **arguments) as process:
        canary = canary_tokens(training_set.token_ids, longest=max_length - 1)  # vLLM adds one
        yield SynchronisedVllm(learner.engine, process, canary)


def _rank_of_adapters(train: config.Train) -> int | None:
    """Rank of the adapters that vLLM computes itself; None where it gets merged weights, or there are none.

    bfloat16 would lose in the sum what adapters add. float32 keeps it, and on GPUs vLLM has no adapters in
    float32 (0.32, vllm/lora/ops/triton_ops/lora_shrink_op.py:281).
    """
    return train.lora.rank if train.lora is not None and train.dtype == "bfloat16" else None


def select_training_set(prompts: pd.DataFrame, values: pd.DataFrame, template: Template) -> TrainingSet:
    """The prompts that the value table has not dropped, in the prompts' order."""
    kept = prompts.merge(values[values["dropped"].isna()], on="prompt_id", how="inner", validate="one_to_one")
    return TrainingSet(
        questions=to_questions(kept),
        token_ids=[template.encode(prompt) for prompt in kept["prompt"]],
        v_star=kept["v_star"].tolist(),
    )


def make_checkpoints(directory: Path, rules: config.Checkpoint, lagging: LaggingCopy | None) -> Checkpoints:
    """Checkpoints of the engine and, where there is one, of the lagging copy beside it."""
    return Checkpoints(
        directory,
        keep=rules.keep,
        min_free_mib=rules.min_free_mib,
        beside=None if lagging is None else lagging.model,
    )


def expected_reward_in(values: Path) -> tuple[float, float]:
    """What a value table says of the reference policy's mean reward on the kept prompts: least and most.

    Raises:
        InputError: the table does not say it: an earlier version made it.
    """
    try:
        lowest, highest = read_metadata(values)["expected_reward_limits"]
    except KeyError:
        raise InputError(
            values, "an earlier version made it; run: apo run --force values", field="expected_reward_limits"
        ) from None
    return float(lowest), float(highest)


def make_guard(train: config.Train, *, expected_reward: tuple[float, float]) -> Guard:
    """A guard whose least reward is a share of the reference policy's, on the prompts that are trained on."""
    guard = train.guard
    return Guard(
        window=guard.window,
        batch_size=train.batch_size,
        max_kl=guard.max_kl,
        max_sampler_kl=guard.max_sampler_kl or MAX_SAMPLER_KL[train.dtype],
        expected_reward=expected_reward,
        min_reward_share=guard.min_reward_share,
        min_length_share=guard.min_length_share,
    )
