"""The guard: sees a collapse early, from the metrics of the last steps."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from apo_core.errors import PolicyCollapse
from apo_core.training.least_reward import least_reward


class Guard:
    """Stops a run whose policy degenerates: means over `window` steps against fixed limits.

    V* lies above the mean reward, so the mean advantage is negative; any lag between the policy that sampled
    and the policy that learns then drives log-probs down without end (Asymmetric REINFORCE, 2506.20520).
    KL, reward and length show it within a few steps, long before the loss does.

    The least reward is a share of what the reference policy gets. Stage 1 knows that within limits; the first
    window, whose policy has hardly learned yet, says where between them it lies.

    Args:
        window: steps that a mean is over.
        batch_size: prompts per step.
        max_kl: highest mean KL, in nats per response.
        max_sampler_kl: highest mean KL of the engine that samples to the policy, in nats per token.
        expected_reward: lowest and highest mean reward that the reference policy may have on these prompts.
        min_reward_share: of it, that the policy must not fall below.
        min_length_share: of the first window's mean length, that responses must not fall below.
    """

    def __init__(
        self,
        *,
        window: int,
        batch_size: int,
        max_kl: float,
        max_sampler_kl: float,
        expected_reward: tuple[float, float],
        min_reward_share: float,
        min_length_share: float,
    ) -> None:
        self.batch_size = batch_size
        self.max_kl = max_kl
        self.max_sampler_kl = max_sampler_kl
        self.expected_reward = expected_reward
        self.min_reward_share = min_reward_share
        self.min_length_share = min_length_share
        self._recent: deque[dict[str, float]] = deque(maxlen=window)
        self._least: tuple[float, float] | None = None  # reward and length, once the first window is full

    def observe(self, metrics: dict[str, float]) -> None:
        """Take one step's `reward` and `response_length`, and `kl` and `sampler_kl` where there are some.

        Raises:
            PolicyCollapse: a mean over the full window is past its limit; says which.
        """
        self._recent.append(metrics)
        if len(self._recent) < (self._recent.maxlen or 0):
            return
        self._check_sampler()  # first: a policy that learns from another's responses may collapse, too
        # Training without a reference knows no KL.
        kl = self._mean("kl") if "kl" in metrics else 0.0
        reward, length = self._mean("reward"), self._mean("response_length")
        if self._least is None:
            self._least = self._least_reward(reward), self.min_length_share * length
        least, shortest = self._least
        for good, problem in (
            (kl <= self.max_kl, f"KL {kl:.3g} is above {self.max_kl:g}"),
            (reward >= least, f"reward {reward:.3f} is below {least:.3f}"),
            (length >= shortest, f"response length {length:.1f} is below {shortest:.1f}"),
        ):
            if not good:  # NaN is not good either
                raise PolicyCollapse(
                    f"the policy collapsed by step {metrics['step']:.0f}: mean {problem} over "
                    f"{len(self._recent)} steps"
                )

    def _check_sampler(self) -> None:
        """Stop where responses are another policy's; the steps of an earlier version say nothing of it."""
        known = [metrics["sampler_kl"] for metrics in self._recent if "sampler_kl" in metrics]
        if known and not fmean(known) <= self.max_sampler_kl:
            raise PolicyCollapse(
                f"by step {self._recent[-1]['step']:.0f} vLLM samples from another policy than the one that "
                f"learns: mean sampler_kl {fmean(known):.3g} nats per token is above {self.max_sampler_kl:g} "
                f"over {len(self._recent)} steps; train with train.sampler.engine=transformers, or raise "
                "train.guard.max_sampler_kl"
            )

    def _least_reward(self, first: float) -> float:
        """The least mean reward of a window, from the first one's."""
        lowest, highest = self.expected_reward
        return least_reward(
            min(max(first, lowest), highest),
            share=self.min_reward_share,
            rewards=self.batch_size * (self._recent.maxlen or 1),
        )

    def _mean(self, name: str) -> float:
        return fmean(metrics[name] for metrics in self._recent)
