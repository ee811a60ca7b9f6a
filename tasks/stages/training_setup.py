"""What learns in stage `train`, what it is held against, and what draws its responses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from apo_core import config
from apo_core.algorithms import Algorithm
from apo_core.kernels.heap import keep_heap
from apo_core.model.critic import Critic, PolicyAndCritic
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import AdaptersOff, add_adapters
from apo_core.model.template import Template
from apo_core.sampling import Sampler
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.context import ReferenceLogProbs, TrainingSet
from apo_core.training.engine import start_engine
from apo_core.training.lagging_copy import Lagging
from apo_core.training.rollouts import InPlace, Synchronised
from tasks.prompts.inputs import make_sampler
from tasks.responses.samplers import vllm_arguments

if TYPE_CHECKING:
    from peft import PeftModel


class Learner(NamedTuple):
    """What learns, and what it is held against."""

    policy: PreTrainedModel
    engine: Any  # DeepSpeed's, over the policy's log-probs
    adapters: PeftModel | None
    reference: ReferenceLogProbs | None  # the lagging copy where the algorithm has one
    lagging: Lagging | None


def make_learner(
    source: ModelRef,
    generation: config.Generation,
    algorithm: Algorithm,
    train: config.Train,
    seed: int,
) -> Learner:
    """The policy in its engine, and what the algorithm needs beside it, all from the reference's weights."""
    if not train.gradient_checkpointing:
        keep_heap()

    def to_train() -> tuple[PreTrainedModel, PeftModel | None]:
        model = load_policy(source)
        adapters = None if train.lora is None else add_adapters(model, **train.lora.model_dump(), seed=seed)
        if train.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        return model, adapters

    policy, adapters = to_train()
    log_probs = ResponseLogProbs(policy, temperature=generation.temperature)
    module: nn.Module = log_probs
    rate = algorithm.critic_rate
    if rate is not None:
        module = PolicyAndCritic(log_probs, Critic(to_train()[0]))
    reference: ReferenceLogProbs | None = None
    held = algorithm.needs_reference and algorithm.sync_every is None
    if held and adapters is not None:
        reference = AdaptersOff(log_probs, adapters)
    elif held:
        frozen = load_policy(replace(source, dtype=train.reference_dtype or train.dtype))
        reference = ResponseLogProbs(frozen.requires_grad_(False), temperature=generation.temperature)
    engine = start_engine(
        module,
        learning_rate=train.learning_rate,
        adam_betas=train.adam_betas,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        dtype=train.dtype,
        zero_stage=train.zero_stage,
        offload=train.offload,
        other_rates=None if rate is None else {"critic": rate * train.learning_rate},
    )
    if algorithm.sync_every is None:
        return Learner(policy, engine, adapters, reference, None)
    lagging = Lagging(engine, load_policy(source), temperature=generation.temperature)
    return Learner(policy, engine, adapters, lagging, lagging)


@contextmanager
def open_rollouts(
    source: ModelRef,
    train: config.Train,
    learner: Learner,
    encoder: Template,
    training_set: TrainingSet,
    *,
    stop: set[int],
    max_length: int,
) -> Iterator[Sampler]:
    """Of the policy as it is at each call, or of its lagging copy."""
    if train.sampler.engine == "transformers":
        drawing = learner.policy if learner.lagging is None else learner.lagging.model
        sampler = make_sampler(drawing, encoder.tokenizer, batch_size=train.rollout_batch_size, stop=stop)
        yield InPlace(learner.engine, sampler) if learner.lagging is None else sampler
        return
    arguments = vllm_arguments(
        train.sampler.vllm, source, encoder.tokenizer, stop=stop, max_length=max_length
    )
    # Without weights: whatever it answers, it has from the policy.
    gpu = learner.engine.device.index
    with VllmProcess(source, gpu=gpu, with_weights=False, **arguments) as vllm:
        # Ends of prompts: chats begin alike, with what every policy is certain of.
        canary = [token for prompt in training_set.token_ids[:8] for token in prompt[-8:]]
        yield Synchronised(learner.engine, vllm, canary[:max_length])
