"""A*-PO: one squared residual a response, and its limit without regularisation (arXiv 2505.20686)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.base import Drawn, Gather, Micro, Parts, Targets
from apo_core.algorithms.tokens import sum_tokens


@dataclass(frozen=True)
class Apo:
    """One response a prompt, V* from the value table.

    More than one update a batch is off-policy; where V* is above the mean reward, that collapses the policy.
    """

    beta2: float
    epochs: int = 1
    minibatches: int = 1

    responses: ClassVar[int] = 1
    together: ClassVar[int] = 1
    needs_behaviour: ClassVar[bool] = False
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """Without regularisation the reference is in V* alone."""
        return self.beta2 > 0

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """`rewards` and `values`, what they are held against; a row without a reward has no advantage."""
        rewards, values = drawn.rewards[:, 0], drawn.values  # (P,)
        return {"rewards": torch.where(rewards.isnan(), values, rewards), "values": values}

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """See `apo_loss`."""
        log_probs = sum_tokens(micro.log_probs, micro.mask)  # (B,)
        rewards, values = micro.targets["rewards"], micro.targets["values"]
        if micro.reference is None:
            return unregularised_loss(log_probs, rewards, values)
        reference = sum_tokens(micro.reference, micro.mask)  # (B,)
        return apo_loss(log_probs, reference, rewards, values, beta2=self.beta2, scored=micro.scored)


def apo_loss(
    log_probs: Tensor,
    reference_log_probs: Tensor,
    rewards: Tensor,
    values: Tensor,
    *,
    beta2: float,
    scored: Tensor | None = None,
) -> tuple[Tensor, Parts]:
    """mean_x (beta2 (ln pi(y|x) - ln pi_ref(y|x)) - (r(x,y) - V*(x)))^2.

    Source: A*-PO (arXiv 2505.20686), the least-squares objective of stage 2. Its minimum over all policies is
    the optimum of KL-regularised RL, beta2 ln pi*/pi_ref = r - V*.

    Args:
        log_probs: (B,) of the responses under the policy, summed over their tokens; carries the gradient.
        reference_log_probs: (B,) likewise under the reference, without gradient.
        rewards: (B,)
        values: (B,) V* of each prompt.
        beta2: strength of the regularisation, in reward per nat.
        scored: (B,) bool, True where there is a reward; other responses are of weight 0 in the mean over all.

    Returns:
        The scalar loss, and detached per-response tensors (B,): `loss` whose mean it is, `kl` the log-ratio.
    """
    log_ratio = log_probs - reference_log_probs  # (B,)
    advantage = rewards - values  # (B,)
    residual = beta2 * log_ratio - advantage  # (B,)
    loss = residual.square()  # (B,)
    if scored is not None:
        loss = torch.where(scored, loss, 0.0)
    return loss.mean(), {"loss": loss.detach(), "kl": log_ratio.detach()}


def unregularised_loss(log_probs: Tensor, rewards: Tensor, values: Tensor) -> tuple[Tensor, Parts]:
    """mean_x -(r(x,y) - V*(x)) ln pi(y|x): what `apo_loss` learns from as beta2 goes to 0.

    With A the advantage, the squared residual's gradient is 2 beta2 (beta2 log_ratio - A) grad ln pi, which
    vanishes with beta2. Divided by 2 beta2 it tends to -A grad ln pi, the gradient of this loss: a policy
    gradient with V* as its baseline. The reference is in V* alone. The loss's value says nothing of progress.

    Args:
        log_probs: (B,) of the responses under the policy, summed over their tokens; carries the gradient.
        rewards: (B,)
        values: (B,) V* of each prompt.

    Returns:
        The scalar loss, and the detached per-response `loss` (B,) whose mean it is.
    """
    advantage = rewards - values  # (B,)
    loss = -advantage * log_probs  # (B,)
    return loss.mean(), {"loss": loss.detach()}
