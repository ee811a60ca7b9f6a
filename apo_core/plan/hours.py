"""Hours of a whole run, stage by stage: `seconds` applied to a configuration, with the reasoning."""

from __future__ import annotations

from apo_core.plan.hardware import Machine
from apo_core.plan.run_shape import Part, RunShape
from apo_core.plan.sampling_hours import evaluate_parts, sample_parts
from apo_core.plan.seconds import shares_of
from apo_core.plan.training_hours import train_parts


def plan_hours(run: RunShape, machine: Machine) -> list[Part]:
    """List the parts of stages sample, train and evaluate, in their order.

    Args:
        run: what is run.
        machine: on which.

    Returns:
        Parts whose seconds add up to the run's. Preparation of the prompts, Prefect's and DVC's work between
        stages, and a champion's evaluation are not among them.
    """
    shares = shares_of(machine.gpus > 0)
    return [
        *sample_parts(run, machine, shares),
        *train_parts(run, machine, shares),
        *evaluate_parts(run, machine, shares),
    ]


def step_seconds(parts: list[Part], steps: int) -> float:
    """Seconds of one step of training, without the stage's start and the checkpoints."""
    once = ("start", "checkpoints")
    return sum(part.seconds for part in parts if part.stage == "train" and part.name not in once) / steps
