"""TRL's own trainers on the workload of `workload.py`; runs in an environment of its own (`make bench`)."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from statistics import median
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer

from benchmarks import workload

GROUP = 8  # GRPO's generations a prompt


class TimedA2PO(A2POTrainer):
    """Knows how long its stage 1 took."""

    stage1_seconds = 0.0

    def _estimate_optimal_values(self) -> None:
        started = time.perf_counter()
        super()._estimate_optimal_values()
        self.stage1_seconds += time.perf_counter() - started


class Watch(TrainerCallback):
    """Seconds of every step."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step, its sampling included, begins."""
        self.step = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The update is applied."""
        self.steps.append(time.perf_counter() - self.step)


def main() -> None:
    """Measure one of the trainers."""
    parser = workload.contestant(__doc__)
    parser.add_argument("trainer", choices=["a2po", "grpo"])
    parser.add_argument("--checkpointing", action="store_true", help="of activations")
    arguments = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(arguments, directory, watch)
        trainer.train()
    a2po = arguments.trainer == "a2po"
    workload.print_measurement(
        trainer.stage1_seconds if a2po else None,
        median(watch.steps[1:]) / (workload.PROMPTS if a2po else 1),
        workload.peak_rss_mib(),
    )


def make_trainer(arguments: Namespace, directory: str, watch: Watch) -> Any:
    """The settings of ours: one batch an update, constant learning rate."""
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
        "use_cpu": True,
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
        "callbacks": [watch],
    }
    if arguments.trainer == "grpo":
        settings = {"num_generations": GROUP, "steps_per_generation": 1, "beta": 0.0}
        return GRPOTrainer(args=GRPOConfig(**common, **settings), **parts)
    settings = {
        "num_value_samples": workload.SAMPLES,
        "beta1": workload.BETA1,
        "beta2": workload.BETA2,
        "filter_all_incorrect": False,
    }
    return TimedA2PO(args=A2POConfig(**common, **settings, max_prompt_length=workload.PROMPT_TOKENS), **parts)


def rewards(completions: list[str], **_: Any) -> list[float]:
    """What TRL asks for."""
    return [workload.reward(completion) for completion in completions]


if __name__ == "__main__":
    main()
