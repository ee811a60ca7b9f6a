"""OAPL: A*-PO's regression against a lagging copy of the policy, V* from the group (arXiv 2602.19362)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.apo import apo_loss
from apo_core.algorithms.base import Drawn, Gather, Micro, Parts, Targets
from apo_core.algorithms.tokens import sum_tokens
from apo_core.values.optimal import optimal_value


@dataclass(frozen=True)
class Oapl:
    """Several responses a prompt, drawn by the copy, which is renewed every so many steps."""

    responses: int
    beta1: float
    beta2: float
    sync_every: int
    epochs: int = 1
    minibatches: int = 1

    together: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = True  # which is the copy
    needs_behaviour: ClassVar[bool] = False
    critic_rate: ClassVar[float | None] = None

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """`rewards`, and `values` of their groups."""
        values = group_values(drawn.rewards, beta1=self.beta1)[:, None].expand_as(drawn.rewards)  # (P, G)
        rewards = torch.where(drawn.rewards.isnan(), values, drawn.rewards)  # (P, G)
        return {"rewards": rewards.flatten(), "values": values.flatten()}

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """See `apo_loss`; `kl` is that of the copy, which drew the responses, to the policy."""
        assert micro.reference is not None
        loss, parts = apo_loss(
            sum_tokens(micro.log_probs, micro.mask),
            sum_tokens(micro.reference, micro.mask),
            micro.targets["rewards"],
            micro.targets["values"],
            beta2=self.beta2,
            scored=micro.scored,
        )
        return loss, parts | {"kl": -parts["kl"]}


def group_values(rewards: Tensor, *, beta1: float) -> Tensor:
    """V*(x) of the policy that drew the group: see `optimal_value`.

    Args:
        rewards: (P, G) of P groups, NaN where there is none.
        beta1: in the rewards' unit, above 0.

    Returns:
        (P,) float32, 0 of a group without any reward.
    """
    found = [row[~row.isnan()] for row in rewards]
    return torch.stack(
        [optimal_value(row[None], beta1)[0].float() if len(row) else row.new_zeros(()) for row in found]
    )
