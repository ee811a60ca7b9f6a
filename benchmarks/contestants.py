"""The contestants of `compare.py`: this project in several configurations, and TRL's trainers."""

from __future__ import annotations

from typing import NamedTuple


class Contestant(NamedTuple):
    """A module to measure; its last line of output is written by `workload.print_measurement`."""

    name: str
    module: str
    arguments: tuple[str, ...]
    peer: bool  # whether it runs in TRL's environment

    @property
    def bfloat16(self) -> bool:
        """Whether it computes in bfloat16."""
        return "bfloat16" in self.arguments

    @property
    def vllm(self) -> bool:
        """Whether it needs vLLM."""
        return self.module.endswith("vllm")


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
    Contestant("ours, float32", "benchmarks.ours", ("--dtype", "float32", "--rows", "1"), False),
    Contestant(
        "ours, float32, light",
        "benchmarks.ours",
        ("--dtype", "float32", "--rows", "1", "--checkpointing", "--reference-dtype", "bfloat16"),
        False,
    ),
    Contestant("ours, bfloat16", "benchmarks.ours", ("--dtype", "bfloat16", "--rows", "8"), False),
    Contestant("ours, vLLM, float32", "benchmarks.ours_vllm", ("--dtype", "float32"), False),
    Contestant("ours, vLLM, bfloat16", "benchmarks.ours_vllm", ("--dtype", "bfloat16"), False),
)
