"""GRPO: advantages within a group of responses, a clipped ratio, a penalty on the KL (arXiv 2402.03300)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from apo_core.algorithms.base import Drawn, Gather, Micro, Parts, Targets
from apo_core.algorithms.tokens import sum_tokens

Scale = Literal["std", "none"]
Normalisation = Literal["response", "constant", "tokens"]
_EPSILON = 1e-4  # beside a standard deviation that may be 0


@dataclass(frozen=True)
class Grpo:
    """Several responses a prompt; what each learns is how far it is above its group's mean."""

    responses: int
    beta: float
    clip_low: float
    clip_high: float
    scale: Scale
    normalisation: Normalisation
    epochs: int = 1
    minibatches: int = 1

    together: ClassVar[int] = 1
    needs_behaviour: ClassVar[bool] = True
    critic_rate: ClassVar[float | None] = None
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """For the penalty alone."""
        return self.beta > 0

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """`advantages`, one a response."""
        return {"advantages": group_advantages(drawn.rewards, scale=self.scale).flatten()}

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """See `grpo_loss`."""
        return grpo_loss(
            micro.log_probs,
            micro.behaviour,
            micro.reference,
            micro.targets["advantages"],
            micro.mask,
            token_divisors(
                micro.mask,
                self.normalisation,
                mean_length=micro.mean_length,
                max_new_tokens=micro.max_new_tokens,
            ),
            micro.scored,
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
        mean_length: tokens a response, over all that the mean is of.
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
    behaviour: Tensor,
    reference: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    divisors: Tensor,
    scored: Tensor,
    *,
    beta: float,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Parts]:
    """-mean_i 1/d_i sum_t min(rho A, clip(rho, 1 - low, 1 + high) A) - beta (pi_ref/pi - ln pi_ref/pi - 1).

    With rho = pi / pi_old of a token. Source: GRPO; two clipping bounds as in DAPO.

    Args:
        log_probs: (B, S) of tokens under the policy; carries the gradient.
        behaviour: (B, S) under the policy that drew them.
        reference: (B, S) under the reference, or None for no penalty.
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
    ratio = (log_probs - behaviour).exp()  # (B, S)
    plain = ratio * advantages  # (B, S)
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages  # (B, S)
    tokens = -torch.minimum(plain, bounded)  # (B, S)
    if reference is not None:
        gap = reference - log_probs  # (B, S)
        tokens = tokens + beta * (gap.exp() - gap - 1)
    loss = torch.where(scored, sum_tokens(tokens, mask) / divisors, 0.0)  # (B,)
    clipped = sum_tokens((bounded < plain).float(), mask) / mask.sum(dim=1).clamp(min=1)  # (B,)
    parts = {"loss": loss.detach(), "clipped": clipped.detach()}
    if reference is not None:
        parts["kl"] = sum_tokens(behaviour - reference, mask)
    return loss.mean(), parts
