"""vLLM on the device: its tokens, and what it holds of a policy that trains."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import add_adapters
from apo_core.model.micro_batch import at_tokens, pad_responses
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.sampling.vllm_sampler import VllmSampler
from apo_core.training.mismatch import MAX_SAMPLER_KL, log_ratios, mismatch_metrics
from apo_core.training.synchronised_vllm import SynchronisedVllm
from gpu.check import Finding, at_most
from gpu.models import on_device, random_rows, tiny_model
from gpu.sampling_checks import NEW_TOKENS, frequency_findings, greedy_findings

_ENGINE: dict[str, Any] = {
    "eos_ids": {0},
    "max_length": 256,
    "max_num_seqs": 128,
    "gpu_memory_utilization": 0.4,
    "kv_cache_gib": 1.0,
    "tensor_parallel_size": 1,
    "enforce_eager": False,
}
_RATE = 1e-3


def vllm_sampler(device: str) -> Iterator[Finding]:
    """As stage 1 and the evaluation sample."""
    with _saved(device) as source, VllmSampler(source, **_ENGINE) as sampler:
        yield from greedy_findings(sampler)
        yield from frequency_findings(sampler)


def vllm_in_training(device: str) -> Iterator[Finding]:
    """Weights are handed over, vLLM sleeps and wakes, and samples from the policy that it was given."""
    for dtype in ("float32", "bfloat16"):
        yield from _in_training(device, dtype, lora=False)


def vllm_adapters(device: str) -> Iterator[Finding]:
    """The same with LoRA: in float32 their sum is handed over, in bfloat16 adapters beside frozen weights."""
    for dtype in ("float32", "bfloat16"):
        yield from _in_training(device, dtype, lora=True)


def _in_training(device: str, dtype: str, *, lora: bool) -> Iterator[Finding]:
    policy = on_device(tiny_model(seed=1), device, dtype)
    adapters = add_adapters(policy, rank=8, alpha=16.0, seed=0) if lora else None
    name = f"{'adapters, ' if lora else ''}{dtype}"
    gpu = 0 if device == "cuda" else None
    rank = 8 if lora and dtype == "bfloat16" else None
    with (
        _saved(device, dtype) as source,
        VllmProcess(source, gpu=gpu, lora_rank=rank, keep_log_probs=True, **_ENGINE) as vllm,
    ):
        canary = random_rows(1, shortest=100, longest=100)[0]
        sampler = SynchronisedVllm(_engine(policy, dtype), vllm, canary)
        for step in range(3):
            yield _kl_after_update(sampler, policy, f"{name}, update {step}")
            _move(policy, seed=step, adapters=adapters is not None)
        yield _left_out(sampler, policy, name)


def _kl_after_update(sampler: SynchronisedVllm, policy: Any, name: str) -> Finding:
    """Hand the weights over, sample, and compare the log-probs of what was sampled; the canary is in it."""
    prompts = random_rows(32, shortest=3, longest=30)
    keys = [str(row) for row in range(len(prompts))]
    try:
        responses = sampler.generate(prompts, keys, max_new_tokens=NEW_TOKENS, temperature=1.0)
    except ApoError as error:
        return Finding(what=f"{name}: weights handed over", result=str(error), expected="taken", good=False)
    batch = pad_responses(prompts, [row.token_ids for row in responses], 0, policy.device)
    with torch.no_grad():
        log_probs = ResponseLogProbs(policy, temperature=1.0)(*batch.inputs)
    theirs = at_tokens([row.log_probs or [] for row in responses], batch.mask)
    metrics = mismatch_metrics(log_ratios(log_probs, theirs), batch.mask)
    limit = MAX_SAMPLER_KL[str(policy.dtype).removeprefix("torch.")]
    return at_most(f"{name}: sampler_kl", float(metrics["sampler_kl"].mean()), limit)


def _left_out(sampler: SynchronisedVllm, policy: Any, name: str) -> Finding:
    """That the canary notices weights that vLLM was not given."""
    held = sampler.transfer
    sampler.transfer = _NoTransfer()
    _move(policy, seed=9, adapters=False, by=0.05)
    try:
        sampler.synchronise()
    except ApoError as error:
        return Finding(
            what=f"{name}: weights left out", result=str(error)[:80], expected="refused", good=True
        )
    finally:
        sampler.transfer = held
    return Finding(what=f"{name}: weights left out", result="not noticed", expected="refused", good=False)


class _NoTransfer:
    def send(self) -> None:
        """Hand nothing over."""


@torch.no_grad()
def _move(policy: Any, *, seed: int, adapters: bool, by: float = _RATE) -> None:
    """Change the weights as an update would: each by the learning rate."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in policy.named_parameters():
        if "lora_" in name or not adapters:
            sign = torch.randn(parameter.shape, generator=generator).sign()
            parameter.add_((by * sign).to(parameter))


@contextmanager
def _saved(device: str, dtype: str = "float32") -> Iterator[ModelRef]:
    with tempfile.TemporaryDirectory() as directory:
        tiny_model().save_pretrained(Path(directory) / "model")
        yield ModelRef(path=Path(directory) / "model", dtype=dtype)


def _engine(policy: Any, dtype: str) -> Any:
    from apo_core.training.engine import start_engine

    return start_engine(
        ResponseLogProbs(policy, temperature=1.0),
        learning_rate=_RATE,
        adam_betas=(0.9, 0.95),
        weight_decay=0.0,
        max_grad_norm=1.0,
        dtype=dtype,
        zero_stage=0,
    )
