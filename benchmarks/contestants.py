"""Who is measured beside whom: ours as it may be configured, and TRL's trainers."""

from __future__ import annotations

from typing import NamedTuple


class Contestant(NamedTuple):
    """A process of its own; its last line of output is what `workload.print_measurement` writes."""

    name: str
    module: str
    arguments: tuple[str, ...]
    peer: bool  # runs in the peers' environment

    @property
    def bfloat16(self) -> bool:
        """It computes in bfloat16, which only some processors do."""
        return "bfloat16" in self.arguments

    @property
    def vllm(self) -> bool:
        """It needs vLLM."""
        return self.module.endswith("vllm")


A2PO, GRPO = "TRL A2PO, float32", "TRL GRPO, float32"  # what ours is compared with

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
