"""PPO as it is used on language models: a critic, GAE over tokens, clipped ratios, the KL in the reward.

Source: PPO (arXiv 1707.06347), GAE (arXiv 1506.02438), and the recipe of Ziegler et al. (arXiv 1909.08593): a
token's reward is minus the KL coefficient times its log-ratio to the reference, the last token's has the
response's reward beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_core.algorithms.base import Drawn, Gather, Micro, Parts, Targets
from apo_core.algorithms.grpo import grpo_loss, token_divisors
from apo_core.algorithms.tokens import sum_tokens

_EPSILON = 1e-8  # beside a variance that may be 0


@dataclass(frozen=True)
class Ppo:
    """One response a prompt; a critic says what is to be expected before every token."""

    kl_coefficient: float
    clip: float
    value_clip: float
    value_coefficient: float
    gamma: float
    lam: float
    whiten: bool
    critic_rate: float
    epochs: int
    minibatches: int

    responses: ClassVar[int] = 1
    together: ClassVar[int] = 1
    needs_behaviour: ClassVar[bool] = True
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """For the penalty alone."""
        return self.kl_coefficient > 0

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """Of every token `advantages`, `returns` (what values are to become) and `values` as they were."""
        assert drawn.critic is not None and drawn.behaviour is not None
        rewards = drawn.rewards.flatten()  # (R,)
        kl = None if drawn.reference is None else drawn.behaviour - drawn.reference  # (R, L)
        gained = token_rewards(rewards.nan_to_num(0.0), kl, drawn.mask, kl_coefficient=self.kl_coefficient)
        advantages = generalised_advantages(
            gained, drawn.critic, drawn.mask, gamma=self.gamma, lam=self.lam
        )  # (R, L)
        returns = advantages + drawn.critic  # (R, L)
        if self.whiten:
            learned = drawn.mask & ~rewards.isnan()[:, None]  # (R, L)
            advantages = whitened(advantages, learned, gather)
        return {"advantages": advantages, "returns": returns, "values": drawn.critic}

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """The clipped ratio's and the critic's loss, means over all tokens."""
        assert micro.critic is not None
        divisors = token_divisors(
            micro.mask, "tokens", mean_length=micro.mean_length, max_new_tokens=micro.max_new_tokens
        )  # (B,)
        loss, parts = grpo_loss(
            micro.log_probs,
            micro.behaviour,
            None,
            micro.targets["advantages"],
            micro.mask,
            divisors,
            micro.scored,
            beta=0.0,
            clip_low=self.clip,
            clip_high=self.clip,
        )
        value, value_parts = value_loss(
            micro.critic,
            micro.targets["values"],
            micro.targets["returns"],
            micro.mask,
            divisors,
            micro.scored,
            clip=self.value_clip,
        )
        parts["loss"] = parts["loss"] + self.value_coefficient * value_parts["value_loss"]
        if micro.reference is not None:
            parts["kl"] = sum_tokens(micro.behaviour - micro.reference, micro.mask)
        return loss + self.value_coefficient * value, parts | value_parts


def token_rewards(rewards: Tensor, kl: Tensor | None, mask: Tensor, *, kl_coefficient: float) -> Tensor:
    """Of every token minus the penalty, of the last one the response's reward, too.

    Args:
        rewards: (R,) of responses.
        kl: (R, L) ln pi_old - ln pi_ref of their tokens, or None.
        mask: (R, L) bool, their tokens, from the left.
        kl_coefficient: of the penalty.

    Returns:
        (R, L), 0 where there is no token.
    """
    counts = mask.sum(dim=1)  # (R,)
    places = torch.arange(mask.shape[1], device=mask.device)  # (L,)
    gained = torch.where(places == counts[:, None] - 1, rewards[:, None], 0.0)  # (R, L)
    return gained if kl is None else torch.where(mask, gained - kl_coefficient * kl, 0.0)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """GAE: A_t = delta_t + gamma lambda A_(t+1), delta_t = r_t + gamma V_(t+1) - V_t.

    A response that was cut at the longest length ends there as others do: nothing is expected after it.

    Args:
        rewards: (R, L) of tokens.
        values: (R, L) expected before each token.
        mask: (R, L) bool, tokens from the left.
        gamma: discount.
        lam: 0 trusts the critic, 1 the rewards.

    Returns:
        (R, L), 0 where there is no token.
    """
    values = torch.where(mask, values, 0.0)  # (R, L)
    after, value_after = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])  # (R,)
    advantages = torch.zeros_like(values)  # (R, L)
    for place in reversed(range(values.shape[1])):
        delta = rewards[:, place] + gamma * value_after - values[:, place]  # (R,)
        after = torch.where(mask[:, place], delta + gamma * lam * after, 0.0)
        advantages[:, place], value_after = after, values[:, place]
    return advantages


def whitened(numbers: Tensor, mask: Tensor, gather: Gather) -> Tensor:
    """Less their mean, over their standard deviation: those of all ranks where the mask is True.

    Args:
        numbers: (R, L)
        mask: (R, L) bool
        gather: what every rank holds, to every rank.
    """
    own = numbers[mask].double()  # (M,)
    moments = torch.tensor(
        gather([(len(own), float(own.sum()), float(own.square().sum()))]), dtype=torch.float64
    )  # (ranks, 3)
    count, total, squares = moments.sum(dim=0).tolist()
    mean = total / max(count, 1.0)
    variance = max(squares / max(count, 1.0) - mean**2, 0.0)
    return (numbers - mean) / (variance + _EPSILON) ** 0.5


def value_loss(
    values: Tensor,
    before: Tensor,
    returns: Tensor,
    mask: Tensor,
    divisors: Tensor,
    scored: Tensor,
    *,
    clip: float,
) -> tuple[Tensor, Parts]:
    """mean_i 1/d_i sum_t 1/2 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2).

    Args:
        values: (B, S) before each token; carries the gradient.
        before: (B, S) the same when the responses were drawn.
        returns: (B, S) what they are to become.
        mask: (B, S) bool, the responses' tokens.
        divisors: (B,) d, from `token_divisors`.
        scored: (B,) bool; other responses are of weight 0 in the mean over all.
        clip: how far a value may move.

    Returns:
        The scalar loss, and the detached per-response `value_loss` (B,) whose mean it is.
    """
    bounded = torch.clamp(values, before - clip, before + clip)  # (B, S)
    worse = torch.maximum((values - returns).square(), (bounded - returns).square())  # (B, S)
    loss = torch.where(scored, 0.5 * sum_tokens(worse, mask) / divisors, 0.0)  # (B,)
    return loss.mean(), {"value_loss": loss.detach()}
