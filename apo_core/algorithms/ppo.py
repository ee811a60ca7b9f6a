"""PPO as it is used on language models: a critic, GAE over tokens, clipped ratios, the KL in the reward.

With V the critic's values, rho = pi(y_t) / pi_old(y_t), and means over the tokens of all responses:

    r_t = -kl_coefficient ln(pi_old(y_t) / pi_ref(y_t)), and r(x,y) beside it at the last token
    delta_t = r_t + gamma V_(t+1) - V_t,   A_t = delta_t + gamma lam A_(t+1),   R_t = A_t + V_t
    -mean_t min(rho A_t, clip(rho, 1 - clip, 1 + clip) A_t)
    + value_coefficient mean_t 1/2 max((V - R_t)^2, (clip(V, V_old - value_clip, V_old + value_clip) - R_t)^2)

Source: PPO (arXiv 1707.06347), GAE (arXiv 1506.02438), and the recipe of Ziegler et al. (arXiv 1909.08593).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from apo_core.algorithms.base import Gather, LossMetrics, Targets
from apo_core.algorithms.grpo import grpo_loss, token_divisors
from apo_core.model.micro_batch import MicroBatch, sum_tokens

_EPSILON = 1e-8  # beside a variance that may be 0


@dataclass(frozen=True, kw_only=True)
class Ppo:
    """One response per prompt; a critic says what reward is to be expected before every token."""

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
    responses_per_loss: ClassVar[int] = 1
    needs_old_log_probs: ClassVar[bool] = True
    sync_every: ClassVar[int | None] = None

    @property
    def needs_reference(self) -> bool:
        """Whether there is a penalty on the KL to the reference policy."""
        return self.kl_coefficient > 0

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """`advantages` and `returns` (what the critic's values are to become), per token."""
        rewards = rewards.nan_to_num(0.0).flatten()  # (R,)
        advantages = [self._advantages(batch, rewards[batch.rows]) for batch in micro_batches]
        returns = [
            own + torch.as_tensor(batch.old_values)
            for own, batch in zip(advantages, micro_batches, strict=True)
        ]
        if self.whiten:
            advantages = whitened(advantages, micro_batches, gather)
        return {"advantages": advantages, "returns": returns}

    def _advantages(self, batch: MicroBatch, rewards: Tensor) -> Tensor:
        """(B,) rewards of responses to (B, S) advantages of tokens."""
        assert batch.old_values is not None and batch.old_log_probs is not None
        reference = batch.reference_log_probs
        kl = None if reference is None else batch.old_log_probs - reference  # (B, S)
        gained = token_rewards(
            rewards.to(batch.mask.device), kl, batch.mask, kl_coefficient=self.kl_coefficient
        )
        return generalised_advantages(gained, batch.old_values, batch.mask, gamma=self.gamma, lam=self.lam)

    def loss(
        self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None = None
    ) -> tuple[Tensor, LossMetrics]:
        """The policy's and the critic's loss, means over all tokens."""
        assert values is not None and batch.old_values is not None
        assert batch.old_log_probs is not None and batch.scored is not None
        divisors = token_divisors(
            batch.mask, "tokens", mean_length=batch.mean_length, max_new_tokens=batch.max_new_tokens
        )  # (B,)
        policy_loss, metrics = grpo_loss(
            log_probs,
            batch.old_log_probs,
            None,
            batch.targets["advantages"],
            batch.mask,
            divisors,
            batch.scored,
            beta=0.0,
            clip_low=self.clip,
            clip_high=self.clip,
        )
        critic_loss, critic_metrics = value_loss(
            values,
            batch.old_values,
            batch.targets["returns"],
            batch.mask,
            divisors,
            batch.scored,
            clip=self.value_clip,
        )
        metrics["loss"] = metrics["loss"] + self.value_coefficient * critic_metrics["value_loss"]
        if batch.reference_log_probs is not None:
            metrics["kl"] = sum_tokens(batch.old_log_probs - batch.reference_log_probs, batch.mask)
        return policy_loss + self.value_coefficient * critic_loss, metrics | critic_metrics


def token_rewards(rewards: Tensor, kl: Tensor | None, mask: Tensor, *, kl_coefficient: float) -> Tensor:
    """Minus the penalty for every token, and the response's reward beside it at the last one.

    Args:
        rewards: (B,) of responses.
        kl: (B, S) ln pi_old - ln pi_ref of their tokens, or None.
        mask: (B, S) bool, their tokens, one after another.
        kl_coefficient: of the penalty.

    Returns:
        (B, S), 0 where there is no token.
    """
    last = mask & ~pad(mask[:, 1:], (0, 1))  # (B, S)
    gained = torch.where(last, rewards[:, None], 0.0)  # (B, S)
    return gained if kl is None else torch.where(mask, gained - kl_coefficient * kl, 0.0)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """GAE: A_t = delta_t + gamma lambda A_(t+1), delta_t = r_t + gamma V_(t+1) - V_t.

    A response that was cut at the longest length ends there as others do: nothing is expected after it.

    Args:
        rewards: (B, S) of tokens.
        values: (B, S) expected before each token.
        mask: (B, S) bool, the responses' tokens, one after another.
        gamma: discount.
        lam: 0 trusts the critic, 1 the rewards.

    Returns:
        (B, S), 0 where there is no token.
    """
    values = torch.where(mask, values, 0.0)  # (B, S)
    after, value_after = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])  # (B,)
    advantages = torch.zeros_like(values)  # (B, S)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * value_after - values[:, t]  # (B,)
        after = torch.where(mask[:, t], delta + gamma * lam * after, 0.0)  # (B,)
        advantages[:, t], value_after = after, values[:, t]
    return advantages


def whitened(advantages: list[Tensor], micro_batches: list[MicroBatch], gather: Gather) -> list[Tensor]:
    """Advantages less their mean, over their standard deviation: those of all scored responses of all ranks.

    Args:
        advantages: (B, S) for each micro-batch.
        micro_batches: whose tokens they are.
        gather: what every rank holds, to every rank.
    """
    own = _scored_tokens(advantages, micro_batches).double()  # (M,)
    moments = torch.tensor(
        gather([(len(own), float(own.sum()), float(own.square().sum()))]), dtype=torch.float64
    )  # (ranks, 3)
    count, total, squares = moments.sum(dim=0).tolist()
    mean = total / max(count, 1.0)
    variance = max(squares / max(count, 1.0) - mean**2, 0.0)
    deviation = (variance + _EPSILON) ** 0.5
    return [(numbers - mean) / deviation for numbers in advantages]


def _scored_tokens(numbers: list[Tensor], micro_batches: list[MicroBatch]) -> Tensor:
    """(M,) numbers of the scored responses' tokens, in the order of responses.

    In that order the rounding of their sum does not depend on how micro-batches were cut.
    """
    tokens = {
        row: own[mask]
        for batch, block in zip(micro_batches, numbers, strict=True)
        for row, own, mask, scored in zip(batch.rows, block, batch.mask, _scored(batch), strict=True)
        if scored
    }
    return torch.cat([numbers[0].new_zeros(0), *(tokens[row] for row in sorted(tokens))])


def _scored(batch: MicroBatch) -> list[bool]:
    assert batch.scored is not None
    scored: list[bool] = batch.scored.tolist()
    return scored


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    divisors: Tensor,
    scored: Tensor,
    *,
    clip: float,
) -> tuple[Tensor, LossMetrics]:
    """mean_i 1/d_i sum_t 1/2 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2).

    Args:
        values: (B, S) before each token; carries the gradient.
        old_values: (B, S) the same before the step's first update.
        returns: (B, S) what they are to become.
        mask: (B, S) bool, the responses' tokens.
        divisors: (B,) d, from `token_divisors`.
        scored: (B,) bool; other responses are of weight 0 in the mean over all.
        clip: how far a value may move.

    Returns:
        The scalar loss, and the detached per-response `value_loss` (B,) whose mean it is.
    """
    bounded = torch.clamp(values, old_values - clip, old_values + clip)  # (B, S)
    worse = torch.maximum((values - returns).square(), (bounded - returns).square())  # (B, S)
    loss = torch.where(scored, 0.5 * sum_tokens(worse, mask) / divisors, 0.0)  # (B,)
    return loss.mean(), {"value_loss": loss.detach()}
