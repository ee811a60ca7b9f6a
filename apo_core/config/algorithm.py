"""How stage 2 learns: the keys of each algorithm, and settings to begin with.

The formulas that the keys stand in are in `docs/algorithms.md`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from apo_core.config.section import NonNegativeFloat, Positive, PositiveFloat, Section, Share

Group = Annotated[int, Field(ge=2)]


class _Algorithm(Section):
    """What every algorithm has."""

    epochs: Positive
    """How often a step learns from each response."""
    minibatches: Positive
    """Optimizer updates an epoch; each learns from an equal part of the batch's prompts."""


class Apo(_Algorithm):
    """A*-PO.

    Several updates a batch need a V* near the mean reward, a larger `values.beta1`: else they may collapse
    the policy (`benchmarks/results/stability.md`).
    """

    name: Literal["apo"]
    beta2: NonNegativeFloat
    """0 regularises by V* alone: no reference is held in memory, and no KL is known during training."""


class Grpo(_Algorithm):
    """GRPO, and its variants Dr. GRPO and DAPO."""

    name: Literal["grpo"]
    responses: Group
    """Of a prompt in a step."""
    beta: NonNegativeFloat
    """Of the KL penalty; 0 holds no reference in memory, and no KL is known during training."""
    clip_low: Share
    clip_high: PositiveFloat
    """DAPO: 0.28 beside a `clip_low` of 0.2."""
    scale: Literal["std", "none"]
    """What advantages are divided by; Dr. GRPO: none."""
    normalisation: Literal["response", "constant", "tokens"]
    """Mean over each response's tokens; or sum over generation.max_new_tokens (Dr. GRPO); or mean over the
    tokens of all responses (DAPO)."""


class Ppo(_Algorithm):
    """PPO with a critic of the policy's size."""

    name: Literal["ppo"]
    kl_coefficient: NonNegativeFloat
    """Of the penalty in every token's reward; 0 holds no reference, and no KL is known during training."""
    clip: Share
    """How far the ratio of a token's probabilities may move from 1."""
    value_clip: PositiveFloat
    """How far a value may move from what it was when the response was drawn."""
    value_coefficient: PositiveFloat
    """Of the critic's loss beside the policy's."""
    gamma: Share
    """What a token's reward is worth one token earlier."""
    lam: Share
    """Of generalised advantage estimation (GAE): 0 trusts the critic alone, 1 the rewards alone."""
    whiten: bool
    """Advantages less their mean, over their standard deviation."""
    critic_rate: PositiveFloat
    """The critic's learning rate, in multiples of the policy's."""


class Rebel(_Algorithm):
    """REBEL: two responses a prompt."""

    name: Literal["rebel"]
    eta: PositiveFloat
    """How far a step may go."""
    kl_coefficient: NonNegativeFloat
    """Of the penalty in the reward; 0 holds no reference, and no KL is known during training."""


class Oapl(_Algorithm):
    """OAPL: a lagging copy of the policy draws, and is what the policy is held against."""

    name: Literal["oapl"]
    responses: Group
    """Of a prompt in a step."""
    beta1: PositiveFloat
    """Of the group's V*."""
    beta2: PositiveFloat
    """Of the regression."""
    sync_every: Positive
    """Steps after which the copy is renewed."""


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
