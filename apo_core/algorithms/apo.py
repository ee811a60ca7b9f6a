"""A*-PO: regress the policy's log-ratio to the reference on the optimal advantage r - V* (arXiv 2505.20686).

Stage 1 has estimated V*(x), the optimal value of KL-regularised RL, from responses of the reference policy.
Here one fresh response y per prompt x is learned from:

    mean_x (beta2 (ln pi(y|x) - ln pi_ref(y|x)) - (r(x,y) - V*(x)))^2

No critic, no group of responses, no clipping. With beta2 = 0: its limit, a policy
gradient with V* as the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.base import Gather, LossMetrics, Targets
from apo_core.model.micro_batch import MicroBatch, sum_tokens


@dataclass(frozen=True, kw_only=True)
class Apo:
    """One response per prompt, V* from the value table.

    More than one update per batch is off-policy; where V* is above the mean reward, that may collapse the
    policy.
    """

    beta2: float
    epochs: int = 1
    minibatches: int = 1

    responses: ClassVar[int] = 1
    responses_per_loss: ClassVar[int] = 1
    needs_old_log_probs: ClassVar[bool] = False
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """Whether there is a regularisation: without it the reference policy is in V* alone."""
        return self.beta2 > 0

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """`rewards` and `v_star`, (R,) each; a response without a reward has no advantage."""
        rewards = rewards[:, 0]  # (P,), which is (R,)
        return {"rewards": torch.where(rewards.isnan(), v_star, rewards), "v_star": v_star}

    def loss(
        self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None = None
    ) -> tuple[Tensor, LossMetrics]:
        """`apo_loss`, or `unregularised_loss` where beta2 is 0."""
        rewards, v_star = batch.targets["rewards"], batch.targets["v_star"]  # (B,)
        response_log_probs = sum_tokens(log_probs, batch.mask)  # (B,)
        if batch.reference_log_probs is None:
            return unregularised_loss(response_log_probs, rewards, v_star)
        reference = sum_tokens(batch.reference_log_probs, batch.mask)  # (B,)
        return apo_loss(response_log_probs, reference, rewards, v_star, beta2=self.beta2, scored=batch.scored)


def apo_loss(
    log_probs: Tensor,
    reference_log_probs: Tensor,
    rewards: Tensor,
    v_star: Tensor,
    *,
    beta2: float,
    scored: Tensor | None = None,
) -> tuple[Tensor, LossMetrics]:
    """mean_x (beta2 (ln pi(y|x) - ln pi_ref(y|x)) - (r(x,y) - V*(x)))^2.

    Source: A*-PO (arXiv 2505.20686), the least-squares objective of stage 2. Its minimum over all policies is
    the optimum of KL-regularised RL, beta2 ln pi*/pi_ref = r - V*.

    Args:
        log_probs: (B,) of the responses under the policy, summed over their tokens; carries the gradient.
        reference_log_probs: (B,) likewise under the reference policy, without gradient.
        rewards: (B,)
        v_star: (B,) V* of each response's prompt.
        beta2: strength of the regularisation, in reward per nat.
        scored: (B,) bool, True where there is a reward; other responses are of weight 0 in the mean over all.

    Returns:
        The scalar loss, and detached per-response tensors (B,): `loss` whose mean it is, `kl` the log-ratio.
    """
    log_ratio = log_probs - reference_log_probs  # (B,)
    advantage = rewards - v_star  # (B,)
    residual = beta2 * log_ratio - advantage  # (B,)
    loss = residual.square()  # (B,)
    if scored is not None:
        loss = torch.where(scored, loss, 0.0)
    return loss.mean(), {"loss": loss.detach(), "kl": log_ratio.detach()}


def unregularised_loss(log_probs: Tensor, rewards: Tensor, v_star: Tensor) -> tuple[Tensor, LossMetrics]:
    """mean_x -(r(x,y) - V*(x)) ln pi(y|x): what `apo_loss` learns from as beta2 goes to 0.

    With A the advantage, the squared residual's gradient is 2 beta2 (beta2 log_ratio - A) grad ln pi, which
    vanishes with beta2. Divided by 2 beta2 it tends to -A grad ln pi, the gradient of this loss: a policy
    gradient with V* as its baseline. The loss's value says nothing of progress.

    Args:
        log_probs: (B,) of the responses under the policy, summed over their tokens; carries the gradient.
        rewards: (B,)
        v_star: (B,) V* of each response's prompt.

    Returns:
        The scalar loss, and the detached per-response `loss` (B,) whose mean it is.
    """
    advantage = rewards - v_star  # (B,)
    loss = -advantage * log_probs  # (B,)
    return loss.mean(), {"loss": loss.detach()}
