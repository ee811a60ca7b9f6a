"""Consumers of memory and disk, and the peak of those that are held at once."""

from __future__ import annotations

from typing import Literal, NamedTuple

MIB = 2**20
BYTES = {"float32": 4, "bfloat16": 2}

# A step of training: the policy answers what another engine is compared with (canary), responses are sampled
# (rollout), gradients are computed (update), the optimizer steps (step). What is held in the last two is
# `learning`.
Phase = Literal["always", "canary", "rollout", "learning", "update", "step"]
# `device` is the memory that models compute in: a GPU's, or the host's where there is none.
Memory = Literal["device", "host", "disk"]


class Item(NamedTuple):
    """A consumer of memory, when it needs the memory, and of which."""

    name: str
    mib: float
    phase: Phase = "always"
    memory: Memory = "device"


def peak_mib(items: list[Item], memory: Memory = "device") -> float:
    """Compute the peak: what is always held, plus the largest of canary, rollout, update and step."""
    held = {
        phase: sum(item.mib for item in items if item.phase == phase and item.memory == memory)
        for phase in ("always", "canary", "rollout", "learning", "update", "step")
    }
    learning = held["learning"] + max(held["update"], held["step"])
    return held["always"] + max(held["canary"], held["rollout"], learning)
