"""Log-probs and gradients of one step: the device against the CPU, in float32."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses
from gpu.check import Finding, at_most
from gpu.models import on_device, random_rows, tiny_model


def log_probs_and_gradients(device: str) -> Iterator[Finding]:
    """The forward and backward pass of responses of unequal lengths."""
    prompts, responses = (
        random_rows(16, shortest=3, longest=40),
        random_rows(16, shortest=1, longest=60, seed=1),
    )
    expected, gradients = _pass(tiny_model(), prompts, responses, "cpu", "float32")
    result, ours = _pass(tiny_model(), prompts, responses, device, "float32")
    yield at_most("log-probs, float32: largest difference", float((result - expected).abs().max()), 1e-3)
    yield at_most("gradients, float32: relative difference", _relative(ours, gradients), 1e-3)
    result, ours = _pass(tiny_model(), prompts, responses, device, "bfloat16")
    yield at_most("log-probs, bfloat16: mean difference", float((result - expected).abs().mean()), 0.1)
    yield at_most("gradients, bfloat16: relative difference", _relative(ours, gradients), 0.1)


def padding(device: str) -> Iterator[Finding]:
    """A response's log-probs do not depend on what stands beside it in the batch."""
    prompts, responses = (
        random_rows(8, shortest=3, longest=40),
        random_rows(8, shortest=1, longest=60, seed=1),
    )
    module = ResponseLogProbs(on_device(tiny_model(), device), temperature=1.0)
    with torch.no_grad():
        batch = pad_responses(prompts, responses, 0, torch.device(device))
        together = module(*batch.inputs)[batch.mask]
        single = []
        for prompt, response in zip(prompts, responses, strict=True):
            row = pad_responses([prompt], [response], 0, torch.device(device))
            single.append(module(*row.inputs)[row.mask])
    difference = float((together - torch.cat(single)).abs().max())
    yield at_most("log-probs in a padded batch and alone: largest difference", difference, 1e-3)


def _pass(
    model: torch.nn.Module, prompts: list[list[int]], responses: list[list[int]], device: str, dtype: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) log-probs of the responses' tokens, and all gradients of their mean in one vector, on the CPU."""
    module = ResponseLogProbs(on_device(model, device, dtype), temperature=0.7)
    batch = pad_responses(prompts, responses, 0, torch.device(device))
    log_probs = module(*batch.inputs)[batch.mask]
    log_probs.mean().backward()
    gradients = [parameter.grad.flatten().float() for parameter in module.parameters()]
    return log_probs.detach().float().cpu(), torch.cat(gradients).cpu()


def _relative(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())
