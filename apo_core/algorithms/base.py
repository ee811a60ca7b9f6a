"""The interface between an algorithm and the training step.

The step samples responses, scores them and applies gradients. An algorithm says how many responses each
prompt gets, what is learned from their rewards, and which loss that is. All of it is tensors: no model, no
engine, no configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from apo_core.model.micro_batch import MicroBatch

# What a rank's R responses learn from: (R,) numbers, one per response, or numbers per token, (B, S) for each
# micro-batch.
Targets = dict[str, Tensor | list[Tensor]]
# (B,) detached numbers per response: `loss`, whose mean is the loss; `kl`, whose mean estimates the
# divergence that the algorithm regularises; whatever else a person wants to see.
LossMetrics = dict[str, Tensor]
# What every rank holds, to every rank: `ranks.gather`.
Gather = Callable[[list[Any]], list[Any]]


class Algorithm(Protocol):
    """One way to learn from responses and their rewards."""

    @property
    def responses(self) -> int:
        """Responses per prompt in a step (G)."""

    @property
    def epochs(self) -> int:
        """How often a step learns from each response."""

    @property
    def minibatches(self) -> int:
        """Optimizer updates per epoch; each learns from an equal part of the batch's prompts."""

    @property
    def responses_per_loss(self) -> int:
        """How many consecutive responses share one loss and so must be in one micro-batch."""

    @property
    def needs_reference(self) -> bool:
        """Whether it uses the reference policy's log-probs."""

    @property
    def needs_old_log_probs(self) -> bool:
        """Whether it uses log-probs of the policy that sampled the responses."""

    @property
    def critic_rate(self) -> float | None:
        """The learning rate of its critic, in multiples of the policy's; None if it has no critic."""

    @property
    def sync_every(self) -> int | None:
        """Steps after which the lagging copy that samples is renewed; None if the policy itself samples."""

    def targets(
        self, rewards: Tensor, v_star: Tensor, micro_batches: list[MicroBatch], gather: Gather
    ) -> Targets:
        """What each of a rank's R = P x G responses learns from, computed once per step.

        Args:
            rewards: (P, G) float32, NaN where the verifier failed.
            v_star: (P,) float32, V* of the value table.
            micro_batches: the same responses, with their recorded log-probs and values.
            gather: for what depends on the responses of all ranks.
        """

    def loss(self, batch: MicroBatch, log_probs: Tensor, values: Tensor | None) -> tuple[Tensor, LossMetrics]:
        """The mean loss over a micro-batch's responses.

        Args:
            batch: with its targets.
            log_probs: (B, S) of the policy; carries the gradient.
            values: (B, S) of the critic, before each token; carries the gradient. None without a critic.
        """


def updates_per_step(algorithm: Algorithm) -> int:
    """Optimizer updates per step."""
    return algorithm.epochs * algorithm.minibatches


def records_policy(algorithm: Algorithm) -> bool:
    """Whether the policy's log-probs, or a critic's values, are recorded before the step's first update.

    Where there is one update, the policy that learns is still the one that sampled.
    """
    return updates_per_step(algorithm) > 1 or algorithm.critic_rate is not None
