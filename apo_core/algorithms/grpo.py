"""GRPO: advantages within a group of responses, a clipped ratio, a penalty on the KL (arXiv 2402.03300).

G responses y_i per prompt, with A_i = (r_i - mean(r)) / std(r) and rho = pi(y_t) / pi_old(y_t):

    -(1/G) sum_i (1/|y_i|) sum_t [min(rho A_i, clip(rho, 1 - low, 1 + high) A_i) - beta D_t]
    D_t = pi_ref(y_t) / pi(y_t) - ln(pi_ref(y_t) / pi(y_t)) - 1

Settings make it Dr. GRPO (arXiv 2503.20783) or DAPO (arXiv 2503.14476).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from apo_core.algorithms.base import Gather, LossMetrics, Targets
from apo_core.model.micro_batch import MicroBatch, sum_tokens

Scale = Literal["std", "none"]
Normalisation = Literal["response", "constant", "tokens"]
_EPSILON = 1e-4  # beside a standard deviation that may be 0


@dataclass(frozen=True, kw_only=True)
class Grpo:
    """Several responses per prompt; each learns from how far its reward is above its group's mean."""

    responses: int
    beta: float
    clip_low: float
    clip_high: float
    scale: Scale
    normalisation: Normalisation
    epochs: int = 1
    minibatches: int = 1

    responses_per_loss: ClassVar[int] = 1
    needs_old_log_probs: ClassVar[bool] = True
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """Whether there is a penalty on the KL to the reference policy."""
        return self.beta > 0

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """`advantages`, (R,)."""
        return {"advantages": group_advantages(rewards, scale=self.scale).flatten()}

    def loss(
        self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None = None
    ) -> tuple[Tensor, LossMetrics]:
        """`grpo_loss`."""
        assert batch.old_log_probs is not None and batch.scored is not None
        return grpo_loss(
            log_probs,
            batch.old_log_probs,
            batch.reference_log_probs,
            batch.targets["advantages"],
            batch.mask,
            token_divisors(
                batch.mask,
                self.normalisation,
                mean_length=batch.mean_length,
                max_new_tokens=batch.max_new_tokens,
            ),
            batch.scored,
            beta=self.beta,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
        )


def group_advantages(rewards: Tensor, *, scale: Scale) -> Tensor:
    """A reward less its group's mean, over the group's standard deviation unless that is left out.

    Source: GRPO's outcome supervision; Dr. GRPO (arXiv 2503.20783) divides by nothing.

    Args:
        rewards: (P, G) of P groups, NaN where there is none.
        scale: "std" divides by the deviation of G - 1 degrees of freedom.

    Returns:
        (P, G), 0 where there is no reward, and in groups with fewer than two.
    """
    scored = ~rewards.isnan()  # (P, G)
    count = scored.sum(dim=1, keepdim=True)  # (P, 1)
    mean = rewards.nanmean(dim=1, keepdim=True)  # (P, 1)
    advantages = torch.where(scored, rewards - mean, 0.0)  # (P, G)
    if scale == "std":
        variance = advantages.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)  # (P, 1)
        advantages = advantages / (variance.sqrt() + _EPSILON)
    return advantages


def token_divisors(
    mask: Tensor, normalisation: Normalisation, *, mean_length: float, max_new_tokens: int
) -> Tensor:
    """What a response's sum over tokens is divided by, before the mean over responses is taken.

    Args:
        mask: (B, S) bool, the responses' tokens.
        normalisation: "response" makes it a mean over each response's tokens (GRPO), "tokens" a mean over the
            tokens of all (DAPO, arXiv 2503.14476), "constant" divides by the longest that may be (Dr. GRPO).
        mean_length: tokens per response, over all that the mean is of.
        max_new_tokens: the longest response.

    Returns:
        (B,) float32
    """
    if normalisation == "response":
        return mask.sum(dim=1).clamp(min=1).float()
    divisor = float(max_new_tokens) if normalisation == "constant" else mean_length
    return torch.full((len(mask),), divisor, device=mask.device)


def grpo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    reference_log_probs: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    divisors: Tensor,
    scored: Tensor,
    *,
    beta: float,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, LossMetrics]:
    """-mean_i 1/d_i sum_t min(rho A, clip(rho, 1 - low, 1 + high) A) - beta (pi_ref/pi - ln pi_ref/pi - 1).

    With rho = pi / pi_old of a token. Source: GRPO; two clipping bounds as in DAPO.

    Args:
        log_probs: (B, S) of tokens under the policy; carries the gradient.
        old_log_probs: (B, S) under the policy that sampled them.
        reference_log_probs: (B, S) under the reference policy, or None for no penalty.
        advantages: (B,) of responses, or (B, S) of tokens.
        mask: (B, S) bool, the responses' tokens.
        divisors: (B,) d, from `token_divisors`.
        scored: (B,) bool; other responses are of weight 0 in the mean over all.
        beta: of the penalty.
        clip_low: how far a ratio may fall.
        clip_high: how far it may rise.

    Returns:
        The scalar loss, and detached per-response tensors (B,): `loss` whose mean it is, `clipped` the share
        of tokens without a gradient from their advantage, and with a reference `kl`, ln pi_old - ln pi_ref.
    """
    advantages = advantages[:, None] if advantages.ndim == 1 else advantages  # (B, S or 1)
    ratio = (log_probs - old_log_probs).exp()  # (B, S)
    plain = ratio * advantages  # (B, S)
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages  # (B, S)
    tokens = -torch.minimum(plain, bounded)  # (B, S)
    if reference_log_probs is not None:
        gap = reference_log_probs - log_probs  # (B, S)
        tokens = tokens + beta * (gap.exp() - gap - 1)
    loss = torch.where(scored, sum_tokens(tokens, mask) / divisors, 0.0)  # (B,)
    clipped = sum_tokens((bounded < plain).float(), mask) / mask.sum(dim=1).clamp(min=1)  # (B,)
    metrics = {"loss": loss.detach(), "clipped": clipped.detach()}
    if reference_log_probs is not None:
        metrics["kl"] = sum_tokens(old_log_probs - reference_log_probs, mask)
    return loss.mean(), metrics
