"""The contestants of `compare.py`: this project in several configurations, and TRL's trainers."""

from __future__ import annotations

from typing import NamedTuple

from apo_core.plan.hardware import Rates
from apo_core.plan.model_shape import ModelShape
from benchmarks.floor import floor, sampling_work, update_work
from benchmarks.workload import GROUP, NEW_TOKENS, PROMPTS, ROWS, SAMPLES


class Contestant(NamedTuple):
    """A module to measure; its last line of output is written by `workload.print_measurement`."""

    name: str
    module: str
    arguments: tuple[str, ...]
    peer: bool  # whether it runs in TRL's environment

    @property
    def bfloat16(self) -> bool:
        """Whether it computes anything in bfloat16."""
        return "bfloat16" in self.arguments

    @property
    def dtype(self) -> str:
        """Precision of its products."""
        return self._option("--dtype") or "float32"

    @property
    def vllm(self) -> bool:
        """Whether it needs vLLM."""
        return self.module.endswith("vllm")

    def floor_tokens_per_second(self, model: ModelShape, rates: Rates) -> float:
        """Tokens per second of stage 1, if only arithmetic and traffic took time."""
        work = sampling_work(model, self.dtype, prompts=PROMPTS, samples=SAMPLES)
        return PROMPTS * SAMPLES * NEW_TOKENS / floor(work, rates)

    def floor_seconds_per_prompt(self, model: ModelShape, rates: Rates) -> float:
        """Seconds per prompt of a step of stage 2, if only those took time."""
        grpo = "grpo" in self.arguments
        prompts, samples = (1, GROUP) if grpo else (PROMPTS, 1)
        works = sampling_work(model, self.dtype, prompts=prompts, samples=samples) + update_work(
            model,
            self.dtype,
            rows=prompts * samples,
            reference=None if grpo else self._option("--reference-dtype") or self.dtype,
            checkpointing="--checkpointing" in self.arguments,
        )
        return floor(works, rates) / prompts

    def _option(self, name: str) -> str | None:
        return self.arguments[self.arguments.index(name) + 1] if name in self.arguments else None


A2PO, GRPO = "TRL A2PO, float32", "TRL GRPO, float32"  # the contestants that ours are compared with

CONTESTANTS = (
    Contestant(A2PO, "benchmarks.peer_trl", ("a2po", "--dtype", "float32"), True),
    Contestant(
        "TRL A2PO, float32, light",
        "benchmarks.peer_trl",
        ("a2po", "--dtype", "float32", "--checkpointing"),
        True,
    ),
    Contestant("TRL A2PO, bfloat16", "benchmarks.peer_trl", ("a2po", "--dtype", "bfloat16"), True),
    Contestant(GRPO, "benchmarks.peer_trl", ("grpo", "--dtype", "float32"), True),
    Contestant(
        "ours, float32", "benchmarks.ours", ("--dtype", "float32", "--rows", str(ROWS["float32"])), False
    ),
    Contestant(
        "ours, float32, light",
        "benchmarks.ours",
        (
            *("--dtype", "float32", "--rows", str(ROWS["float32"])),
            *("--checkpointing", "--reference-dtype", "bfloat16"),
        ),
        False,
    ),
    Contestant(
        "ours, bfloat16", "benchmarks.ours", ("--dtype", "bfloat16", "--rows", str(ROWS["bfloat16"])), False
    ),
    Contestant("ours, vLLM, float32", "benchmarks.ours_vllm", ("--dtype", "float32"), False),
    Contestant("ours, vLLM, bfloat16", "benchmarks.ours_vllm", ("--dtype", "bfloat16"), False),
)
