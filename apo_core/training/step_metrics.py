"""What `metrics.jsonl` says of a step: means over the responses of all ranks."""

from __future__ import annotations

from statistics import fmean

from apo_core.training.context import RolloutBatch
from apo_core.training.metrics import StepMetrics
from apo_core.training.ranks import gather
from apo_core.verifiers.combined import mean_parts


def step_metrics(
    step: int, rollouts: RolloutBatch, loss_metrics: dict[str, list[float]]
) -> tuple[StepMetrics, int]:
    """Means over the responses of all ranks; and how many tokens these have.

    Args:
        step: counted from 0.
        rollouts: of this rank; somewhere there is a reward.
        loss_metrics: of this rank's responses, by name.
    """
    rewards, v_star = gather(rollouts.rewards), gather(rollouts.v_star)
    scored = [(reward, v) for reward, v in zip(rewards, v_star, strict=True) if reward is not None]
    errors = len(rewards) - len(scored)
    lengths = gather([len(response.token_ids) for response in rollouts.responses])
    return {
        "step": step + 1,
        "reward": fmean(reward for reward, _ in scored),
        "value": fmean(v_star),
        "advantage": fmean(reward - v for reward, v in scored),
        **({"verifier_errors": errors} if errors else {}),
        **mean_parts(gather(rollouts.parts)),
        **{name: _mean(numbers) for name, numbers in loss_metrics.items()},
        "response_length": sum(lengths) / len(lengths),
        "truncated": _mean([response.finish_reason == "length" for response in rollouts.responses]),
    }, sum(lengths)


def _mean(numbers: list[float]) -> float:
    """The mean over all ranks."""
    everywhere = gather(numbers)
    return fmean(everywhere)
