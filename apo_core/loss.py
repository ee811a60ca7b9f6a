"""Stage 2's loss: one squared residual a response, and its limit without regularisation."""

from __future__ import annotations

import torch
from torch import Tensor


def apo_loss(
    log_probs: Tensor,
    reference_log_probs: Tensor,
    rewards: Tensor,
    values: Tensor,
    *,
    beta2: float,
    scored: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
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
        The scalar loss, and detached per-response tensors (B,): `loss` whose mean it is, `log_ratio`.
    """
    log_ratio = log_probs - reference_log_probs  # (B,)
    advantage = rewards - values  # (B,)
    residual = beta2 * log_ratio - advantage  # (B,)
    loss = residual.square()  # (B,)
    if scored is not None:
        loss = torch.where(scored, loss, 0.0)
    return loss.mean(), {"loss": loss.detach(), "log_ratio": log_ratio.detach()}


def unregularised_loss(
    log_probs: Tensor, rewards: Tensor, values: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
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
