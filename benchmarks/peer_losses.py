"""Compares our losses with TRL's own functions on the same tensors; runs in TRL's environment.

    .venv/peers/bin/python -m benchmarks.peer_losses

TRL's environment lacks our dependencies, so that only `apo_core.algorithms` can be imported, which needs
torch alone. TRL's losses are methods of trainers; they are called on a stand-in that has the attributes and
log-probs that they read. Fails if a loss or gradient differs by more than rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from apo_core.algorithms.apo import apo_loss
from apo_core.algorithms.grpo import Normalisation, group_advantages, grpo_loss, token_divisors
from apo_core.model.micro_batch import sum_tokens

ROWS, TOKENS, GROUP, LONGEST = 24, 40, 8, 64
BETA, LOW, HIGH, BETA2 = 0.04, 0.2, 0.28, 1e-3
# TRL's names of the normalisations.
LOSS_TYPES: dict[Normalisation, str] = {"response": "grpo", "constant": "dr_grpo", "tokens": "dapo"}


class Batch(NamedTuple):
    """Random log-probs and rewards of responses of unequal lengths, in groups."""

    policy: Tensor  # (B, S)
    old_log_probs: Tensor  # (B, S)
    reference: Tensor  # (B, S)
    mask: Tensor  # (B, S) bool
    rewards: Tensor  # (B,)
    v_star: Tensor  # (B,)


class Outcome(NamedTuple):
    """Both losses, and the relative differences of loss and gradient."""

    name: str
    ours: float
    theirs: float
    loss_difference: float
    gradient_difference: float


def main() -> None:
    """Print how much losses and gradients differ; fail if it is more than rounding."""
    outcomes = [compare(f"GRPO, {name}", *grpo(name)) for name in LOSS_TYPES]
    outcomes += [compare("A*-PO", our_apo, their_apo)]
    print(f"{'loss':<16}{'ours':>14}{'TRL':>14}{'loss differs':>14}{'gradient differs':>18}")
    for outcome in outcomes:
        print(
            f"{outcome.name:<16}{outcome.ours:>14.8f}{outcome.theirs:>14.8f}"
            f"{outcome.loss_difference:>14.1e}{outcome.gradient_difference:>18.1e}"
        )
    of_advantages = advantage_difference()
    print(f"group advantages, largest difference to TRL's formula: {of_advantages:.1e}")
    differences = [max(outcome.loss_difference, outcome.gradient_difference) for outcome in outcomes]
    worst = max([of_advantages, *differences])
    if worst > 1e-6:
        raise SystemExit(f"losses, gradients or advantages differ by {worst:.1e}, expected at most 1e-6")


def random_batch(seed: int) -> Batch:
    """Random tensors in float64, so that only a different formula can differ by more than 1e-6."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, TOKENS + 1, (ROWS, 1), generator=generator)
    policy = -normal(ROWS, TOKENS).abs()
    return Batch(
        policy,
        policy + 0.2 * normal(ROWS, TOKENS),
        policy + 0.3 * normal(ROWS, TOKENS),
        torch.arange(TOKENS) < lengths,
        (normal(ROWS) > 0).double(),
        normal(ROWS).sigmoid(),
    )


def compare(
    name: str, ours: Callable[[Batch, Tensor], Tensor], theirs: Callable[[Batch, Tensor], Tensor]
) -> Outcome:
    """Compare losses and gradients over a few batches; keep the largest differences."""
    worst = [0.0, 0.0]
    for seed in range(5):
        batch = random_batch(seed)
        losses_and_gradients = []
        for function in (ours, theirs):
            policy = batch.policy.clone().requires_grad_()
            loss = function(batch, policy)
            (gradient,) = torch.autograd.grad(loss, [policy])
            losses_and_gradients.append((loss.detach(), gradient))
        (loss, gradient), (other, other_gradient) = losses_and_gradients
        worst[0] = max(worst[0], float((loss - other).abs() / other.abs()))
        worst[1] = max(worst[1], float((gradient - other_gradient).norm() / other_gradient.norm()))
    return Outcome(name, float(loss), float(other), *worst)


def our_apo(batch: Batch, policy: Tensor) -> Tensor:
    """Our A*-PO loss: `apo_loss`."""
    log_probs, reference = (sum_tokens(numbers, batch.mask) for numbers in (policy, batch.reference))
    return apo_loss(log_probs, reference, batch.rewards, batch.v_star, beta2=BETA2)[0]


def their_apo(batch: Batch, policy: Tensor) -> Tensor:
    """TRL's A*-PO loss: `A2POTrainer.compute_loss`."""
    from trl.experimental.a2po import A2POTrainer

    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(beta2=BETA2),
        _metrics={"train": defaultdict(list)},
        _get_sequence_logps=lambda *_: (policy * batch.mask).sum(dim=1),
    )
    inputs = {
        "input_ids": None,
        "attention_mask": None,
        "logits_to_keep": None,
        "ref_logps": (batch.reference * batch.mask).sum(dim=1),
        "rewards": batch.rewards,
        "v_star": batch.v_star,
    }
    loss: Tensor = A2POTrainer.compute_loss(trainer, None, inputs)
    return loss


def grpo(
    normalisation: Normalisation,
) -> tuple[Callable[[Batch, Tensor], Tensor], Callable[[Batch, Tensor], Tensor]]:
    """Our GRPO loss and TRL's, given the same advantages."""

    def ours(batch: Batch, policy: Tensor) -> Tensor:
        lengths = batch.mask.sum(dim=1).double()
        divisors = token_divisors(
            batch.mask, normalisation, mean_length=float(lengths.mean()), max_new_tokens=LONGEST
        ).double()
        return grpo_loss(
            policy,
            batch.old_log_probs,
            batch.reference,
            advantages_of(batch),
            batch.mask,
            divisors,
            torch.ones(ROWS, dtype=torch.bool),
            beta=BETA,
            clip_low=LOW,
            clip_high=HIGH,
        )[0]

    def theirs(batch: Batch, policy: Tensor) -> Tensor:
        from trl import GRPOTrainer

        mask = batch.mask.long()
        inputs = {
            "prompt_ids": mask[:, :1],
            "prompt_mask": mask[:, :1],
            "completion_ids": mask,
            "completion_mask": mask,
            "advantages": advantages_of(batch),
            "old_per_token_logps": batch.old_log_probs,
            "ref_per_token_logps": batch.reference,
            "num_items_in_batch": mask.sum(),
        }
        loss: Tensor = GRPOTrainer._compute_loss(stand_in(LOSS_TYPES[normalisation], policy), None, inputs)
        return loss

    return ours, theirs


def stand_in(loss_type: str, policy: Tensor) -> Any:
    """Attributes that `GRPOTrainer._compute_loss` reads of its trainer; everything optional is off."""
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        accelerator=SimpleNamespace(
            gather=lambda tensor: tensor, reduce=lambda tensor, reduction: tensor, num_processes=1
        ),
        loss_type=loss_type,
        beta=BETA,
        epsilon_low=LOW,
        epsilon_high=HIGH,
        max_completion_length=LONGEST,
        current_gradient_accumulation_steps=1,
        importance_sampling_level="token",
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (policy, torch.zeros_like(policy), None),
    )


def advantages_of(batch: Batch) -> Tensor:
    """(B,) group advantages."""
    return group_advantages(batch.rewards.view(-1, GROUP), scale="std").flatten()


def advantage_difference() -> float:
    """Largest difference of group advantages to TRL's.

    TRL computes them inside a longer method; its lines are repeated here, with TRL's own `nanstd`.
    """
    from trl.trainer.utils import nanstd

    worst = 0.0
    for seed in range(5):
        rewards = random_batch(seed).rewards.view(-1, GROUP)
        rewards[0, 1] = torch.nan
        deviation = nanstd(rewards, dim=1)[:, None]
        theirs = ((rewards - rewards.nanmean(dim=1, keepdim=True)) / (deviation + 1e-4)).nan_to_num(0.0)
        worst = max(worst, float((group_advantages(rewards, scale="std") - theirs).abs().max()))
    return worst


if __name__ == "__main__":
    main()
