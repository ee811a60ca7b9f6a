"""REBEL: two responses' log-ratios are to differ as their rewards do (arXiv 2404.16767)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.base import Drawn, Gather, Micro, Parts, Targets
from apo_core.algorithms.tokens import sum_tokens


@dataclass(frozen=True)
class Rebel:
    """Two responses a prompt; the log-ratio is to the policy that drew them."""

    eta: float
    kl_coefficient: float
    epochs: int = 1
    minibatches: int = 1

    responses: ClassVar[int] = 2
    together: ClassVar[int] = 2
    needs_behaviour: ClassVar[bool] = True
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """For the penalty alone."""
        return self.kl_coefficient > 0

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """`rewards`, one a response."""
        return {"rewards": drawn.rewards.nan_to_num(0.0).flatten()}

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """See `rebel_loss`; the rewards are less the penalty of the policy that drew the responses."""
        rewards = micro.targets["rewards"]
        behaviour = sum_tokens(micro.behaviour, micro.mask)  # (B,)
        kl: Parts = {}
        if micro.reference is not None:
            kl = {"kl": behaviour - sum_tokens(micro.reference, micro.mask)}
            rewards = rewards - self.kl_coefficient * kl["kl"]
        log_ratios = sum_tokens(micro.log_probs, micro.mask) - behaviour  # (B,)
        loss, parts = rebel_loss(log_ratios, rewards, micro.scored, eta=self.eta)
        return loss, parts | kl


def rebel_loss(log_ratios: Tensor, rewards: Tensor, scored: Tensor, *, eta: float) -> tuple[Tensor, Parts]:
    """mean_x ((1/eta)(ln pi(y)/pi_t(y) - ln pi(y')/pi_t(y')) - (r(x,y) - r(x,y')))^2.

    Source: REBEL, equation of the least-squares step; pi_t is the policy that drew both responses.

    Args:
        log_ratios: (B,) ln pi - ln pi_t, responses 2k and 2k + 1 to one prompt; carries the gradient.
        rewards: (B,)
        scored: (B,) bool; a pair without both rewards is of weight 0 in the mean over all.
        eta: how far a step goes: of the optimum, ln pi/pi_t is eta times the advantage.

    Returns:
        The scalar loss, and the detached `loss` (B,) whose mean it is, the same for both of a pair.
    """
    fitted = (log_ratios[0::2] - log_ratios[1::2]) / eta  # (B/2,)
    residual = fitted - (rewards[0::2] - rewards[1::2])  # (B/2,)
    loss = torch.where(scored[0::2] & scored[1::2], residual.square(), 0.0)  # (B/2,)
    return loss.mean(), {"loss": loss.detach().repeat_interleave(2)}
