"""REBEL: regress the difference of two responses' log-ratios on that of their rewards (arXiv 2404.16767).

With pi_old the policy that sampled both responses y and y' to a prompt x:

    mean_x ((1/eta) (ln pi(y|x)/pi_old(y|x) - ln pi(y'|x)/pi_old(y'|x)) - (r(x,y) - r(x,y')))^2

where each reward is less kl_coefficient ln(pi_old(y|x) / pi_ref(y|x)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.base import Gather, LossMetrics, Targets
from apo_core.model.micro_batch import MicroBatch, sum_tokens


@dataclass(frozen=True, kw_only=True)
class Rebel:
    """Two responses per prompt; the log-ratio is to the policy that sampled them."""

    eta: float
    kl_coefficient: float
    epochs: int = 1
    minibatches: int = 1

    responses: ClassVar[int] = 2
    responses_per_loss: ClassVar[int] = 2
    needs_old_log_probs: ClassVar[bool] = True
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """Whether there is a penalty on the KL to the reference policy."""
        return self.kl_coefficient > 0

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """`rewards`, (R,)."""
        return {"rewards": rewards.nan_to_num(0.0).flatten()}

    def loss(
        self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None = None
    ) -> tuple[Tensor, LossMetrics]:
        """`rebel_loss` on rewards less the penalty of the policy that sampled the responses."""
        assert batch.old_log_probs is not None and batch.scored is not None
        rewards = batch.targets["rewards"]  # (B,)
        old = sum_tokens(batch.old_log_probs, batch.mask)  # (B,)
        kl: LossMetrics = {}
        if batch.reference_log_probs is not None:
            kl = {"kl": old - sum_tokens(batch.reference_log_probs, batch.mask)}
            rewards = rewards - self.kl_coefficient * kl["kl"]
        log_ratios = sum_tokens(log_probs, batch.mask) - old  # (B,)
        loss, metrics = rebel_loss(log_ratios, rewards, batch.scored, eta=self.eta)
        return loss, metrics | kl


def rebel_loss(
    log_ratios: Tensor, rewards: Tensor, scored: Tensor, *, eta: float
) -> tuple[Tensor, LossMetrics]:
    """mean_x ((1/eta)(ln pi(y)/pi_old(y) - ln pi(y')/pi_old(y')) - (r(x,y) - r(x,y')))^2.

    Source: REBEL, equation of the least-squares step; pi_old is the policy that sampled both responses.

    Args:
        log_ratios: (B,) ln pi - ln pi_old, responses 2k and 2k + 1 to one prompt; carries the gradient.
        rewards: (B,)
        scored: (B,) bool; a pair without both rewards is of weight 0 in the mean over all.
        eta: how far a step goes: of the optimum, ln pi/pi_old is eta times the advantage.

    Returns:
        The scalar loss, and the detached `loss` (B,) whose mean it is, the same for both of a pair.
    """
    fitted = (log_ratios[0::2] - log_ratios[1::2]) / eta  # (B/2,)
    residual = fitted - (rewards[0::2] - rewards[1::2])  # (B/2,)
    loss = torch.where(scored[0::2] & scored[1::2], residual.square(), 0.0)  # (B/2,)
    return loss.mean(), {"loss": loss.detach().repeat_interleave(2)}
