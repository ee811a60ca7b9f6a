"""Both stages as this project runs them, on the workload of `workload.py`."""

from __future__ import annotations

import argparse
import time

import torch

from apo_core.logprobs import ResponseLogProbs
from apo_core.sampling import TransformersSampler
from apo_core.tokenization import Template
from apo_core.training.engine import start_engine
from apo_core.training.rollouts import InPlace
from apo_core.training.step import Stage2, TrainingSet, run_step
from apo_core.values import optimal_value
from apo_core.verifiers import Verdict
from benchmarks.workload import (
    BETA1,
    BETA2,
    LEARNING_RATE,
    NEW_TOKENS,
    PROMPT_TOKENS,
    PROMPTS,
    SAMPLES,
    SHAPES,
    number_tokenizer,
    print_measurement,
    random_model,
    random_prompts,
    reward,
)


class Chance:
    """The workload's reward as a verifier."""

    name = "chance"
    version = "1"

    def score(self, completion: str, answer: str) -> Verdict:
        """See `workload.reward`."""
        return Verdict(reward(completion), None)

    def answer_problem(self, answer: str) -> str | None:
        """Every answer will do."""
        return None


def main() -> None:
    """Measure stage 1 once and some steps of stage 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    stage, stage1_seconds = prepare(arguments.shape, arguments.dtype)
    seconds = []
    for step in range(arguments.steps):
        started = time.perf_counter()
        run_step(stage, step, list(range(PROMPTS)))
        seconds.append(time.perf_counter() - started)
    print_measurement(stage1_seconds, seconds, PROMPTS)


def prepare(shape: str, dtype: str) -> tuple[Stage2, float]:
    """Stage 1, and the parts of stage 2."""
    policy, reference = random_model(shape, dtype), random_model(shape, dtype)
    tokenizer = number_tokenizer(SHAPES[shape]["vocab_size"])
    encoder = Template(tokenizer, style="raw", text="{prompt}", system=None)
    prompts = random_prompts(SHAPES[shape]["vocab_size"])
    rows = [prompt for prompt in prompts for _ in range(SAMPLES)]
    sampler = TransformersSampler(policy, eos_ids={-1}, pad_id=0, batch_size=len(rows))
    started = time.perf_counter()
    responses = sampler.generate(
        rows, [str(row) for row in range(len(rows))], max_new_tokens=NEW_TOKENS, temperature=1.0
    )
    seconds = time.perf_counter() - started
    rewards = [reward(encoder.decode(response.token_ids)) for response in responses]
    groups = [rewards[start : start + SAMPLES] for start in range(0, len(rows), SAMPLES)]
    engine = start_engine(
        ResponseLogProbs(policy, temperature=1.0),
        learning_rate=LEARNING_RATE,
        adam_betas=(0.9, 0.999),
        weight_decay=0.01,
        max_grad_norm=1.0,
        dtype=dtype,
        zero_stage=0,
    )
    stage = Stage2(
        engine=engine,
        reference=ResponseLogProbs(reference.requires_grad_(False), temperature=1.0),
        adapters=None,
        sampler=InPlace(engine, sampler),
        template=encoder,
        verifier=Chance(),
        prompts=TrainingSet(
            prompt_ids=[str(index) for index in range(PROMPTS)],
            token_ids=prompts,
            answers=["" for _ in prompts],
            values=optimal_value(torch.tensor(groups), BETA1).tolist(),
        ),
        beta2=BETA2,
        max_new_tokens=NEW_TOKENS,
        temperature=1.0,
        micro_batch_tokens=PROMPTS * (PROMPT_TOKENS + NEW_TOKENS),  # the peers' batch: all at once
        pad_id=0,
        seed=0,
    )
    return stage, seconds


if __name__ == "__main__":
    main()
