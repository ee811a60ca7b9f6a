"""How stage 2 learns: the keys of each algorithm, and their defaults.

The formulas that the keys stand in are in `docs/algorithms.md`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from apo_core.config.section import NonNegativeFloat, Positive, PositiveFloat, Section, Share

Group = Annotated[int, Field(ge=2)]


class _Algorithm(Section):
    """Keys that every algorithm has."""

    epochs: Positive
    """Passes over the responses of a step."""
    minibatches: Positive
    """Optimizer updates per epoch; each learns from an equal part of the batch's prompts."""


class Apo(_Algorithm):
    """A*-PO.

    Several updates per batch need a V* near the mean reward, a larger `values.beta1`: else they may collapse
    the policy (`benchmarks/results/stability.md`).
    """

    name: Literal["apo"]
    """The algorithm; `--set algorithm=NAME` writes its whole section."""
    beta2: NonNegativeFloat
    """Weight of the KL regularisation, in units of reward per nat. 0 regularises by V* alone: no reference is
    held in memory, and no KL is known during training."""


class Grpo(_Algorithm):
    """GRPO, and its variants Dr. GRPO and DAPO."""

    name: Literal["grpo"]
    """The algorithm; `--set algorithm=NAME` writes its whole section."""
    responses: Group
    """Responses per prompt in a step: the group whose mean reward is the baseline."""
    beta: NonNegativeFloat
    """Weight of the KL penalty; 0 holds no reference in memory, and no KL is known during training."""
    clip_low: Share
    """How far the ratio of a token's probabilities may fall below 1."""
    clip_high: PositiveFloat
    """How far that ratio may rise above 1. DAPO: 0.28 beside a `clip_low` of 0.2."""
    scale: Literal["std", "none"]
    """Divisor of advantages: the standard deviation of the group's rewards, or none (Dr. GRPO)."""
    normalisation: Literal["response", "constant", "tokens"]
    """How the loss of tokens is averaged: `response` over each response's tokens; `constant` is the sum
    divided by `generation.max_new_tokens` (Dr. GRPO); `tokens` over the tokens of all responses (DAPO)."""


class Ppo(_Algorithm):
    """PPO with a critic of the policy's size."""

    name: Literal["ppo"]
    """The algorithm; `--set algorithm=NAME` writes its whole section."""
    kl_coefficient: NonNegativeFloat
    """Weight of the KL penalty in every token's reward; 0 holds no reference, and no KL is known during
    training."""
    clip: Share
    """How far the ratio of a token's probabilities may move from 1."""
    value_clip: PositiveFloat
    """How far the critic's value of a token may move from its value when the response was sampled."""
    value_coefficient: PositiveFloat
    """Weight of the critic's loss beside the policy's."""
    gamma: Share
    """Discount of rewards per token."""
    lam: Share
    """Lambda of generalised advantage estimation (GAE): 0 trusts the critic alone, 1 the rewards alone."""
    whiten: bool
    """Subtract the mean of advantages and divide by their standard deviation."""
    critic_rate: PositiveFloat
    """The critic's learning rate, in multiples of the policy's."""


class Rebel(_Algorithm):
    """REBEL: two responses per prompt."""

    name: Literal["rebel"]
    """The algorithm; `--set algorithm=NAME` writes its whole section."""
    eta: PositiveFloat
    """Scale of the reward difference that a step regresses on: how far a step may go."""
    kl_coefficient: NonNegativeFloat
    """Weight of the KL penalty in the reward; 0 holds no reference, and no KL is known during training."""


class Oapl(_Algorithm):
    """OAPL: a lagging copy of the policy samples the responses, and is the reference policy."""

    name: Literal["oapl"]
    """The algorithm; `--set algorithm=NAME` writes its whole section."""
    responses: Group
    """Responses per prompt in a step: the group that V* is estimated from."""
    beta1: PositiveFloat
    """Temperature of the group's V*, in units of reward."""
    beta2: PositiveFloat
    """Weight of the log-ratio in the regression, in units of reward per nat."""
    sync_every: Positive
    """Steps after which the policy is copied again."""


Algorithm = Annotated[Apo | Grpo | Ppo | Rebel | Oapl, Field(discriminator="name")]

# What `--set algorithm=NAME` writes. A*-PO's, and GRPO's `beta`, clipping, scale and normalisation, are the
# papers'; PPO's are common in RLHF; REBEL's, OAPL's and the sizes of groups are ours. None is tuned.
DEFAULTS: dict[str, dict[str, Any]] = {
    "apo": {"name": "apo", "beta2": 0.001, "epochs": 1, "minibatches": 1},
    "grpo": {
        "name": "grpo",
        "responses": 8,
        "beta": 0.04,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "scale": "std",
        "normalisation": "response",
        "epochs": 1,
        "minibatches": 1,
    },
    "ppo": {
        "name": "ppo",
        "kl_coefficient": 0.05,
        "clip": 0.2,
        "value_clip": 0.2,
        "value_coefficient": 0.1,
        "gamma": 1.0,
        "lam": 0.95,
        "whiten": True,
        "critic_rate": 10.0,
        "epochs": 4,
        "minibatches": 1,
    },
    "rebel": {"name": "rebel", "eta": 1.0, "kl_coefficient": 0.001, "epochs": 1, "minibatches": 1},
    "oapl": {
        "name": "oapl",
        "responses": 8,
        "beta1": 0.5,
        "beta2": 0.5,
        "sync_every": 8,
        "epochs": 1,
        "minibatches": 1,
    },
}
