"""All checks, the quickest first."""

from __future__ import annotations

from gpu.check import Check
from gpu.numbers_checks import log_probs_and_gradients, padding
from gpu.sampling_checks import transformers_sampler
from gpu.training_checks import resume, zero_stages

CHECKS = (
    Check("log-probs and gradients", log_probs_and_gradients),
    Check("padding", padding),
    Check("transformers sampler", transformers_sampler),
    Check("ZeRO", zero_stages, needs=("deepspeed",)),
    Check("resume", resume, needs=("deepspeed",)),
)


def check_named(name: str) -> Check:
    """The check of that name."""
    (check,) = (check for check in CHECKS if check.name == name)
    return check
