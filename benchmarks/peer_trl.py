"""Measures TRL's trainers on the workload of `workload.py`; runs in TRL's environment (`make bench`)."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer

from benchmarks import workload


class TimedA2PO(A2POTrainer):
    """A2POTrainer that records the seconds of its stage 1."""

    stage1_seconds = 0.0

    def _estimate_optimal_values(self) -> None:
        started = time.perf_counter()
        super()._estimate_optimal_values()
        self.stage1_seconds += time.perf_counter() - started


class StepTimer(TrainerCallback):
    """Records the seconds of every step."""

    def __init__(self) -> None:
        self.step_seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock; sampling is a part of the step."""
        self.started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock after the update."""
        self.step_seconds.append(time.perf_counter() - self.started)


def main() -> None:
    """Measure one trainer."""
    parser = workload.contestant_parser(__doc__)
    parser.add_argument("trainer", choices=["a2po", "grpo"])
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    arguments = parser.parse_args()
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(arguments, directory, timer)
        trainer.train()
    a2po = arguments.trainer == "a2po"
    workload.print_measurement(
        trainer.stage1_seconds if a2po else None,
        median(timer.step_seconds[1:]) / (workload.PROMPTS if a2po else 1),
        workload.peak_rss_mib(),
    )


def make_trainer(arguments: Namespace, directory: str, timer: StepTimer) -> Any:
    """Build a trainer configured like ours: one batch per update, constant learning rate."""
    shape = arguments.shape
    common = {
        "output_dir": directory,
        "max_steps": workload.STEPS,
        "learning_rate": workload.LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_completion_length": workload.NEW_TOKENS,
        "bf16": arguments.dtype == "bfloat16",
        "gradient_checkpointing": arguments.checkpointing,
        "per_device_train_batch_size": workload.PROMPTS,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 10**6,
    }
    model = workload.random_model(shape, "float32")  # bfloat16 is autocast over float32 weights
    tokenizer = workload.number_tokenizer(workload.SHAPES[shape]["vocab_size"])
    prompts = [
        " ".join(map(str, row)) for row in workload.random_prompts(workload.SHAPES[shape]["vocab_size"])
    ]
    parts = {
        "model": model,
        "reward_funcs": rewards,
        "train_dataset": Dataset.from_dict({"prompt": prompts}),
        "processing_class": tokenizer,
        "callbacks": [timer],
    }
    if arguments.trainer == "grpo":
        grpo_options = {"num_generations": workload.GROUP, "steps_per_generation": 1, "beta": 0.0}
        return GRPOTrainer(args=GRPOConfig(**common, **grpo_options), **parts)
    a2po_options = {
        "num_value_samples": workload.SAMPLES,
        "beta1": workload.BETA1,
        "beta2": workload.BETA2,
        "filter_all_incorrect": False,
    }
    return TimedA2PO(
        args=A2POConfig(**common, **a2po_options, max_prompt_length=workload.PROMPT_TOKENS), **parts
    )


def rewards(completions: list[str], **_: Any) -> list[float]:
    """Reward function in the form that TRL calls."""
    return [workload.reward(completion) for completion in completions]


if __name__ == "__main__":
    main()
