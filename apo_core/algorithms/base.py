"""What an algorithm of stage 2 says of itself, is given, and gives back.

The trainer draws, scores and applies; an algorithm says how many responses a prompt gets, what is learned
from their rewards, and which loss that is. All of it is tensors: no model, no engine, no configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor

# Of a rank's responses, in order: (R,) numbers of responses, or (R, L) of their tokens.
Targets = dict[str, Tensor]
# (B,) detached numbers of each response: `loss`, whose mean the loss is; `kl`, whose mean estimates the
# divergence from what the algorithm is held against; whatever else a person wants to see.
Parts = dict[str, Tensor]
# What every rank holds, to every rank: `ranks.gather`.
Gather = Callable[[list[Any]], list[Any]]


class Drawn(NamedTuple):
    """A rank's responses of one step, before anything is learned: R = P x G of them, a prompt's together."""

    rewards: Tensor  # (P, G) float32, NaN where the verifier failed
    values: Tensor  # (P,) float32, V* of the value table
    mask: Tensor  # (R, L) bool, their tokens, from the left
    # (R, L) each, None unless recorded: log-probs of the policy that drew them, log-probs of what the policy
    # is held against, a critic's values before each token.
    behaviour: Tensor | None = None
    reference: Tensor | None = None
    critic: Tensor | None = None


class Micro(NamedTuple):
    """Some responses of one update, with the graph; tokens are where the mask is True."""

    log_probs: Tensor  # (B, S) of the policy; carries the gradient
    mask: Tensor  # (B, S) bool
    scored: Tensor  # (B,) bool, False where the verifier failed: of weight 0 in the mean over all
    behaviour: Tensor  # (B, S) log-probs of the policy that drew them, where needed; without gradient
    reference: Tensor | None  # (B, S) log-probs of what the policy is held against, without gradient
    critic: Tensor | None  # (B, S) values before each token; carries the gradient
    targets: Targets  # of these responses, (B,) or (B, S)
    mean_length: float  # tokens a response, over the whole update and all ranks
    max_new_tokens: int


class Algorithm(Protocol):
    """One way to learn from responses and their rewards."""

    @property
    def responses(self) -> int:
        """How many a prompt gets in a step."""
        ...

    @property
    def epochs(self) -> int:
        """How often a step learns from each response."""
        ...

    @property
    def minibatches(self) -> int:
        """How many optimizer updates an epoch is cut into, by prompts."""
        ...

    @property
    def together(self) -> int:
        """How many responses, one after another, have one loss: they are in one `Micro`."""
        ...

    @property
    def needs_reference(self) -> bool:
        """Whether it uses log-probs of what the policy is held against."""
        ...

    @property
    def needs_behaviour(self) -> bool:
        """Whether it uses log-probs of the policy that drew the responses."""
        ...

    @property
    def critic_rate(self) -> float | None:
        """The learning rate of its critic, in multiples of the policy's; None if it has none."""
        ...

    @property
    def sync_every(self) -> int | None:
        """Steps that a copy of the policy draws for before it is renewed; None if the policy itself draws."""
        ...

    def targets(self, drawn: Drawn, gather: Gather) -> Targets:
        """What each response learns from, once a step; `gather` for what depends on all ranks' responses."""
        ...

    def loss(self, micro: Micro) -> tuple[Tensor, Parts]:
        """The mean over the responses, and its parts."""
        ...


def updates(algorithm: Algorithm) -> int:
    """Optimizer updates a step."""
    return algorithm.epochs * algorithm.minibatches


def records(algorithm: Algorithm) -> bool:
    """Whether log-probs are needed of the policy as it was before the step's first update, or values.

    Where there is one update, the policy that learns is still the one that drew.
    """
    return updates(algorithm) > 1 or algorithm.critic_rate is not None
