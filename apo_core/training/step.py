"""One on-policy step: sample, score, and a single optimizer update."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from apo_core.errors import PolicyCollapse
from apo_core.logprobs import ResponseLogProbs, Rollouts, pad_rollouts
from apo_core.loss import apo_loss, unregularised_loss
from apo_core.sampling import Response, Sampler
from apo_core.tokenization import Template
from apo_core.training.metrics import StepMetrics
from apo_core.verifiers import Verifier


@dataclass(frozen=True)
class TrainingSet:
    """The prompts kept for stage 2 and what each must beat."""

    prompt_ids: list[str]
    token_ids: list[list[int]]
    answers: list[str]
    values: list[float]  # V*(x)


@dataclass(frozen=True)
class Stage2:
    """What a step works with; nothing here changes but the engine's weights."""

    engine: Any  # deepspeed.DeepSpeedEngine over ResponseLogProbs
    reference: ResponseLogProbs | None  # None where beta2 is 0: nothing is regularised
    sampler: Sampler  # of the engine's policy
    template: Template
    verifier: Verifier
    prompts: TrainingSet
    beta2: float
    max_new_tokens: int
    temperature: float
    micro_batch_size: int
    pad_id: int
    seed: int


def run_step(stage: Stage2, step: int, indices: list[int]) -> StepMetrics:
    """Train on one fresh response for each of the prompts at `indices`.

    Exactly one optimizer update: a second one on the same batch is off-policy and collapses the policy.

    Args:
        stage: the parts.
        step: counted from 0; decides the sampling noise.
        indices: positions in the training set.

    Returns:
        The step's metrics, `step` counted from 1; without a reference there is no `kl` among them.

    Raises:
        PolicyCollapse: the loss or a gradient is not finite; the update was not applied.
    """
    started = time.perf_counter()
    responses = _sample(stage, step, indices)
    answers = [stage.prompts.answers[index] for index in indices]
    rewards = torch.tensor(
        [
            stage.verifier.score(stage.template.decode(response.token_ids), answer).reward
            for response, answer in zip(responses, answers, strict=True)
        ]
    )  # (B,)
    values = torch.tensor([stage.prompts.values[index] for index in indices])  # (B,)
    sampled = time.perf_counter()
    prompts = [stage.prompts.token_ids[index] for index in indices]
    update = _update(stage, step, prompts, responses, rewards, values)
    ended = time.perf_counter()
    tokens = sum(len(response.token_ids) for response in responses)
    return {
        "step": step + 1,
        "reward": rewards.mean().item(),
        "value": values.mean().item(),
        **update,
        "response_length": tokens / len(responses),
        "truncated": sum(response.finish_reason == "length" for response in responses) / len(responses),
        "tokens_per_second": tokens / (ended - started),
        "sampling_seconds": sampled - started,
        "update_seconds": ended - sampled,
    }


def _sample(stage: Stage2, step: int, indices: list[int]) -> list[Response]:
    # The position is in the key because a batch may hold a prompt twice (batch larger than the set).
    keys = [
        f"train/{stage.seed}/{step}/{position}/{stage.prompts.prompt_ids[index]}"
        for position, index in enumerate(indices)
    ]
    return stage.sampler.generate(
        [stage.prompts.token_ids[index] for index in indices],
        keys,
        max_new_tokens=stage.max_new_tokens,
        temperature=stage.temperature,
    )


def _update(
    stage: Stage2,
    step: int,
    prompts: list[list[int]],
    responses: list[Response],
    rewards: Tensor,
    values: Tensor,
) -> dict[str, float]:
    # Rows of like length share a micro-batch; the mean over the batch does not depend on the order.
    lengths = [len(p) + len(r.token_ids) for p, r in zip(prompts, responses, strict=True)]
    order = sorted(range(len(prompts)), key=lengths.__getitem__)
    losses, parts = [], []
    stage.engine.train()  # gradient checkpointing works in this mode only; there is no dropout to switch on
    with FiniteGradients(stage.engine.module) as gradients:
        for start in range(0, len(order), stage.micro_batch_size):
            rows = order[start : start + stage.micro_batch_size]
            batch = pad_rollouts(
                [prompts[row] for row in rows], [responses[row].token_ids for row in rows], stage.pad_id
            )
            loss, part = _micro_batch(stage, batch, rewards[rows], values[rows])
            losses.append(loss)
            parts.append(part)
            if start + stage.micro_batch_size >= len(order):  # the call of step() that applies them
                if not gradients.finite():
                    raise PolicyCollapse(f"step {step + 1}: a gradient is not finite; it was not applied")
                norm = _whole_norm(stage.engine.module)
            stage.engine.step()
    stage.engine.eval()
    reported = stage.engine.get_global_grad_norm()  # None without ZeRO in float32
    means = {name: torch.cat([part[name] for part in parts]).mean().item() for name in parts[0]}
    return {
        "loss": sum(losses) / len(losses),
        "advantage": means["advantage"],
        **({"kl": means["log_ratio"]} if stage.reference else {}),
        "gradient_norm": float(norm if reported is None else reported),
    }


def _micro_batch(
    stage: Stage2, batch: Rollouts, rewards: Tensor, values: Tensor
) -> tuple[float, dict[str, Tensor]]:
    """Forward and backward; the loss as a number and its per-response parts."""
    device = stage.engine.device
    batch, rewards, values = batch.to(device), rewards.to(device), values.to(device)
    if stage.reference is None:
        loss, parts = unregularised_loss(stage.engine(*batch), rewards, values)
    else:
        with torch.no_grad():
            reference_log_probs = stage.reference(*batch)
        loss, parts = apo_loss(stage.engine(*batch), reference_log_probs, rewards, values, beta2=stage.beta2)
    if not torch.isfinite(loss):
        raise PolicyCollapse(f"the loss is {loss.item()}; the update was not applied")
    stage.engine.backward(loss)
    return loss.item(), {name: part.cpu() for name, part in parts.items()}


def _whole_norm(module: nn.Module) -> float:
    """The norm before clipping of gradients that lie whole in the module (ZeRO takes them elsewhere)."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))


class FiniteGradients:
    """Watches every gradient as it is computed, before DeepSpeed reduces, clips or applies it.

    DeepSpeed's own norm comes too late: where gradients are partitioned it is known after they were applied.
    The norm of a tensor that holds anything infinite or NaN is not finite, and it is read in a single pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._norms: list[Tensor] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> FiniteGradients:
        self._hooks = [
            parameter.register_hook(lambda gradient: self._norms.append(vector_norm(gradient)))
            for parameter in self.module.parameters()
            if parameter.requires_grad
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def finite(self) -> bool:
        """Whether all gradients so far were finite."""
        return bool(torch.stack(self._norms).isfinite().all())
