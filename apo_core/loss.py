"""Stage 2's loss: one squared residual a response."""

from __future__ import annotations

from torch import Tensor


def apo_loss(
    log_probs: Tensor, reference_log_probs: Tensor, rewards: Tensor, values: Tensor, *, beta2: float
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

    Returns:
        The scalar loss, and detached per-response tensors (B,): `advantage`, `log_ratio`, `residual`.
    """
    log_ratio = log_probs - reference_log_probs  # (B,)
    advantage = rewards - values  # (B,)
    residual = beta2 * log_ratio - advantage  # (B,)
    parts = {"advantage": advantage, "log_ratio": log_ratio, "residual": residual}
    return residual.square().mean(), {name: part.detach() for name, part in parts.items()}
