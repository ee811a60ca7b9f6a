"""Metrics of a step, and `metrics.jsonl`: one object per step, cut back to the checkpoint at a resume."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from apo_core.system.files import write_text
from apo_core.training.context import RolloutBatch
from apo_core.training.ranks import gather

StepMetrics = dict[str, float]


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
        **{name: _mean(numbers) for name, numbers in loss_metrics.items()},
        "response_length": sum(lengths) / len(lengths),
        "truncated": _mean([response.finish_reason == "length" for response in rollouts.responses]),
    }, sum(lengths)


def _mean(numbers: list[float]) -> float:
    """The mean over all ranks."""
    everywhere = gather(numbers)
    return fmean(everywhere)


def append_metrics(file: Path, metrics: StepMetrics) -> None:
    """Add one step's line; a line is one write."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(metrics, allow_nan=False) + "\n")


def read_metrics(file: Path) -> list[StepMetrics]:
    """The complete lines of the file; none where there is no file."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    # A line without its end is being written, or was when the process was killed.
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate_metrics(file: Path, steps: int) -> list[StepMetrics]:
    """Drop the steps after number `steps`, which a resumed run does again; return the rest."""
    kept = [metrics for metrics in read_metrics(file) if metrics["step"] <= steps]
    write_text(file, "".join(json.dumps(metrics) + "\n" for metrics in kept))
    return kept


def training_seconds(rows: list[StepMetrics]) -> float:
    """What steps took: sampling, verifying and updating, without checkpoints and the process's start."""
    return sum(row["sampling_seconds"] + row["update_seconds"] for row in rows)
