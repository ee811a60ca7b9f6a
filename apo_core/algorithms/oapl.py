"""OAPL: A*-PO's regression against a lagging copy of the policy, with V from the group (arXiv 2602.19362).

The copy pi_lag samples G responses per prompt; it is renewed every `sync_every` steps. With
V(x) = beta1 ln((1/G) sum_i exp(r(x,y_i) / beta1)):

    mean_x,i (beta2 (ln pi(y_i|x) - ln pi_lag(y_i|x)) - (r(x,y_i) - V(x)))^2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.apo import apo_loss
from apo_core.algorithms.base import Gather, LossMetrics, Targets
from apo_core.model.micro_batch import MicroBatch, sum_tokens
from apo_core.values.optimal import optimal_value


@dataclass(frozen=True, kw_only=True)
class Oapl:
    """Several responses per prompt, sampled by the lagging copy, which is also the reference policy."""

    responses: int
    beta1: float
    beta2: float
    sync_every: int
    epochs: int = 1
    minibatches: int = 1

    responses_per_loss: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = True  # the lagging copy
    needs_old_log_probs: ClassVar[bool] = False
    critic_rate: ClassVar[float | None] = None

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """`rewards`, and `v_star` of their groups, (R,) each; the value table's is not used."""
        own = group_values(rewards, beta1=self.beta1)[:, None].expand_as(rewards)  # (P, G)
        rewards = torch.where(rewards.isnan(), own, rewards)  # (P, G)
        return {"rewards": rewards.flatten(), "v_star": own.flatten()}

    def loss(
        self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None = None
    ) -> tuple[Tensor, LossMetrics]:
        """`apo_loss` against the lagging copy; `kl` is that of the copy, which sampled, to the policy."""
        assert batch.reference_log_probs is not None
        loss, metrics = apo_loss(
            sum_tokens(log_probs, batch.mask),
            sum_tokens(batch.reference_log_probs, batch.mask),
            batch.targets["rewards"],
            batch.targets["v_star"],
            beta2=self.beta2,
            scored=batch.scored,
        )
        return loss, metrics | {"kl": -metrics["kl"]}


def group_values(rewards: Tensor, *, beta1: float) -> Tensor:
    """V*(x) for the policy that sampled the group, from the group's own rewards: see `optimal_value`.

    Args:
        rewards: (P, G) of P groups, NaN where there is none.
        beta1: in the rewards' unit, above 0.

    Returns:
        (P,) float32, 0 of a group without any reward.
    """
    groups = [group[~group.isnan()] for group in rewards]
    return torch.stack(
        [
            optimal_value(group[None], beta1)[0].float() if len(group) else group.new_zeros(())
            for group in groups
        ]
    )
