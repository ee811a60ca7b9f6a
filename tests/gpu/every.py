"""All checks, the quickest first."""

from __future__ import annotations

from gpu.check import Check
from gpu.numbers_checks import log_probs_and_gradients, padding
from gpu.sampling_checks import transformers_sampler
from gpu.speed_checks import beside_trl, plan
from gpu.training_checks import resume, zero_stages
from gpu.vllm_checks import vllm_adapters, vllm_in_training, vllm_sampler

CHECKS = (
    Check("log-probs and gradients", log_probs_and_gradients),
    Check("padding", padding),
    Check("transformers sampler", transformers_sampler),
    Check("ZeRO", zero_stages, needs=("deepspeed",), on_every_gpu=True),
    Check("resume", resume, needs=("deepspeed",)),
    Check("vLLM", vllm_sampler, needs=("vllm",)),
    Check("vLLM in training", vllm_in_training, needs=("vllm", "deepspeed")),
    Check("vLLM with adapters", vllm_adapters, needs=("vllm", "deepspeed", "peft")),
    Check("plan", plan, needs=("deepspeed", "pydantic", "ruamel", "pyarrow", "boto3", "rich")),
    Check("beside TRL", beside_trl, needs=("deepspeed", "trl")),
)


def check_named(name: str) -> Check:
    """The check of that name."""
    (check,) = (check for check in CHECKS if check.name == name)
    return check
