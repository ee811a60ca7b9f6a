"""Measures both stages of this project on the workload of `workload.py`."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import PretrainedConfig, PreTrainedModel

from apo_core.algorithms.apo import Apo
from apo_core.model.acceleration import accelerate, packs_weights
from apo_core.model.head import chunk_tokens_on
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.template import Template
from apo_core.plan.items import peak_mib
from apo_core.plan.model_shape import model_shape
from apo_core.plan.training_memory import TrainingShape, plan_training
from apo_core.sampling import TransformersSampler
from apo_core.sampling.scored import Question
from apo_core.system.heap import keep_heap
from apo_core.training.context import TrainingContext, TrainingSet
from apo_core.training.engine import start_engine
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.training.step import run_step
from apo_core.values.optimal import optimal_value
from apo_core.verifiers import ErrorBudget, InProcess, Verdict
from benchmarks import workload


class Chance:
    """The workload's reward, which is as good as random, as a verifier."""

    name = "chance"
    version = "1"
    bounded = True
    reads_row = False

    def load(self) -> None:
        """Do nothing."""

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """Reward of `workload.reward`."""
        return Verdict(workload.reward(completion), None, "by chance")

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """Accept every reference answer."""
        return None


def main() -> None:
    """Measure stage 1 once, and a few steps of stage 2."""
    parser = workload.contestant_parser(__doc__)
    parser.add_argument("--rows", type=int, required=True, help="rows per micro-batch")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--reference-dtype", choices=list(workload.DTYPES), help="default: --dtype")
    setting = Setting(**vars(parser.parse_args()))
    # Each stage in a process of its own, as in the pipeline.
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        rewards, stage1_seconds = other.submit(run_stage1, setting).result()
    context = training_context(setting, rewards)
    workload.print_measurement(
        stage1_seconds,
        seconds_per_prompt(context),
        workload.peak_rss_mib(),
        planned_mib(context.engine.module.model.config, setting),
    )


def seconds_per_prompt(context: TrainingContext) -> float:
    """Median over the steps after the first, which is a warm-up."""
    seconds = []
    for step in range(workload.STEPS):
        started = time.perf_counter()
        run_step(context, step, list(range(workload.PROMPTS)))
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:]) / workload.PROMPTS


class Setting(NamedTuple):
    """Configuration of ours."""

    shape: str
    dtype: str
    rows: int  # per micro-batch
    checkpointing: bool  # gradient checkpointing
    reference_dtype: str | None

    @property
    def micro_batch_tokens(self) -> int:
        """Value for `train.micro_batch_tokens`."""
        return self.rows * (workload.PROMPT_TOKENS + workload.NEW_TOKENS)


def make_engine(policy: PreTrainedModel, dtype: str) -> Any:
    """Start the training engine with the workload's learning rate, on one rank."""
    return start_engine(
        ResponseLogProbs(policy, temperature=1.0),
        learning_rate=workload.LEARNING_RATE,
        adam_betas=(0.9, 0.999),
        weight_decay=0.01,
        max_grad_norm=1.0,
        dtype=dtype,
        zero_stage=0,
    )


def planned_mib(config: PretrainedConfig, setting: Setting) -> float:
    """Peak memory that `apo doctor` would expect."""
    shape = TrainingShape(
        config=config,
        model=model_shape(config),
        dtype=setting.dtype,
        prompt_tokens=workload.PROMPT_TOKENS,
        new_tokens=workload.NEW_TOKENS,
        rollout_rows=workload.PROMPTS,
        batch_rows=workload.PROMPTS,
        micro_batch_tokens=setting.micro_batch_tokens,
        gradient_checkpointing=setting.checkpointing,
        ranks=1,
        zero_stage=0,
        offload="none",
        kept_checkpoints=0,
        chunk_tokens=chunk_tokens_on("cpu"),
        reference_dtype=setting.reference_dtype or setting.dtype,
        packed=packs_weights(workload.DTYPES[setting.dtype], "cpu"),
    )
    return peak_mib(plan_training(shape))


def run_stage1(setting: Setting) -> tuple[list[list[float]], float]:
    """Rewards of every prompt's samples, and the seconds that sampling took."""
    policy = _model(setting.shape, setting.dtype)
    vocabulary = workload.SHAPES[setting.shape]["vocab_size"]
    tokenizer = workload.number_tokenizer(vocabulary)
    rows = [prompt for prompt in workload.random_prompts(vocabulary) for _ in range(workload.SAMPLES)]
    sampler = TransformersSampler(policy, eos_ids={-1}, pad_id=0, batch_size=len(rows))
    started = time.perf_counter()
    responses = sampler.generate(
        rows, [str(row) for row in range(len(rows))], max_new_tokens=workload.NEW_TOKENS, temperature=1.0
    )
    seconds = time.perf_counter() - started
    rewards = [workload.reward(tokenizer.decode(response.token_ids)) for response in responses]
    return [rewards[at : at + workload.SAMPLES] for at in range(0, len(rows), workload.SAMPLES)], seconds


def _model(shape: str, dtype: str) -> PreTrainedModel:
    """As the project loads one."""
    model = workload.random_model(shape, dtype)
    accelerate(model)
    return model


def training_context(setting: Setting, rewards: list[list[float]]) -> TrainingContext:
    """Everything that a training step of the workload needs."""
    if not setting.checkpointing:
        keep_heap()
    policy = _model(setting.shape, setting.dtype)
    reference = _model(setting.shape, setting.reference_dtype or setting.dtype)
    vocabulary = workload.SHAPES[setting.shape]["vocab_size"]
    if setting.checkpointing:
        policy.gradient_checkpointing_enable()
    engine = make_engine(policy, setting.dtype)
    sampler = TransformersSampler(policy, eos_ids={-1}, pad_id=0, batch_size=workload.PROMPTS)
    return TrainingContext(
        engine=engine,
        algorithm=Apo(beta2=workload.BETA2),
        reference=ResponseLogProbs(reference.requires_grad_(False), temperature=1.0),
        adapters=None,
        sampler=InPlaceSampler(engine, sampler),
        template=Template(workload.number_tokenizer(vocabulary), style="raw", text="{prompt}", system=None),
        scorer=InProcess(Chance()),
        errors=ErrorBudget(0.0, rows=workload.PROMPTS),
        prompts=training_set(setting.shape, optimal_value(torch.tensor(rewards), workload.BETA1).tolist()),
        max_new_tokens=workload.NEW_TOKENS,
        temperature=1.0,
        # One update per batch, like the peers; ours saves memory by accumulating over micro-batches.
        micro_batch_tokens=setting.micro_batch_tokens,
        pad_id=0,
        seed=0,
    )


def training_set(shape: str, v_star: list[float]) -> TrainingSet:
    """Training set of the workload's prompts with the given V*."""
    return TrainingSet(
        questions=[Question(str(index), "", "", "{}") for index in range(workload.PROMPTS)],
        token_ids=workload.random_prompts(workload.SHAPES[shape]["vocab_size"]),
        v_star=v_star,
    )


if __name__ == "__main__":
    main()
