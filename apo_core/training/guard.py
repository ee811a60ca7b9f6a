"""The guard: sees a collapse early, from the metrics of the last steps."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from apo_core.errors import PolicyCollapse


class Guard:
    """Stops a run whose policy degenerates: means over `window` steps against fixed limits.

    V* lies above the mean reward, so the mean advantage is negative; any lag between the policy that sampled
    and the policy that learns then drives log-probs down without end (Asymmetric REINFORCE, 2506.20520).
    KL, reward and length show it within a few steps, long before the loss does.
    """

    def __init__(
        self,
        *,
        window: int,
        max_kl: float,
        min_reward: float,
        min_length_share: float,
    ) -> None:
        self.max_kl = max_kl
        self.min_reward = min_reward
        self.min_length_share = min_length_share
        self._recent: deque[dict[str, float]] = deque(maxlen=window)
        self._first_length: float | None = None

    def observe(self, metrics: dict[str, float]) -> None:
        """Take one step's `reward` and `response_length`, and its `kl` where there is one.

        Raises:
            PolicyCollapse: a mean over the full window is past its limit; says which.
        """
        self._recent.append(metrics)
        if len(self._recent) < (self._recent.maxlen or 0):
            return
        # Training without a reference knows no KL.
        kl = self._mean("kl") if "kl" in metrics else 0.0
        reward, length = self._mean("reward"), self._mean("response_length")
        if self._first_length is None:
            self._first_length = length
        shortest = self.min_length_share * self._first_length
        for good, problem in (
            (kl <= self.max_kl, f"KL {kl:.3g} is above {self.max_kl:g}"),
            (reward >= self.min_reward, f"reward {reward:.3f} is below {self.min_reward:.3f}"),
            (length >= shortest, f"response length {length:.1f} is below {shortest:.1f}"),
        ):
            if not good:  # NaN is not good either
                raise PolicyCollapse(
                    f"the policy collapsed by step {metrics['step']:.0f}: mean {problem} over "
                    f"{len(self._recent)} steps"
                )

    def _mean(self, name: str) -> float:
        return fmean(metrics[name] for metrics in self._recent)
