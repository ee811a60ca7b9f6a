"""Pictures for people: the values, the training, the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.files import replacing

_REFERENCE, _POLICY = "#8a8f98", "#1f6feb"
_GRAYS = ("#8a8f98", "#b3b8bf", "#5c616a", "#d5d8dc", "#3d4148")  # of as many reasons to drop a prompt


def plot_values(values: pd.DataFrame, file: Path) -> None:
    """Histogram of V*(x), kept prompts and those dropped for each reason apart."""
    figure, axes = _figure(1)
    kept = values["dropped"].isna()
    groups = {f"trained on ({kept.sum()})": values.loc[kept, "v_star"]}
    for reason, rows in values[~kept].groupby("dropped"):
        groups[f"dropped, {reason} ({len(rows)})"] = rows["v_star"].dropna()
    colours = [_POLICY, *_GRAYS][: len(groups)]
    axes[0].hist([*groups.values()], bins=20, range=(0, 1), stacked=True, color=colours, label=[*groups])
    axes[0].set(xlabel="V*(x)", ylabel="prompts", title="Optimal value of the training prompts")
    axes[0].legend(frameon=False)
    _save(figure, file)


def plot_training(metrics: pd.DataFrame, file: Path) -> None:
    """Reward against V*, KL, loss and response length over the steps."""
    figure, axes = _figure(4)
    reward, divergence, loss, length = axes
    reward.plot(metrics["step"], metrics["reward"], color=_POLICY, alpha=0.25)
    reward.plot(metrics["step"], metrics["reward"].rolling(10, min_periods=1).mean(), color=_POLICY)
    reward.set(title="reward of the fresh responses (mean of 10 steps)", ylim=(0, 1))
    if "kl" in metrics:  # not where beta2 is 0
        divergence.plot(metrics["step"], metrics["kl"], color=_POLICY)
    divergence.set(title="KL to the reference, nats a response")
    loss.plot(metrics["step"], metrics["loss"], color=_POLICY)
    loss.set(title="loss")
    length.plot(metrics["step"], metrics["response_length"], color=_POLICY)
    length.set(title="response length, tokens")
    for axis in axes[2:]:
        axis.set_xlabel("step")
    _save(figure, file)


def plot_evaluation(evaluation: dict[str, Any], file: Path) -> None:
    """Accuracy of reference and policy with their intervals."""
    figure, axes = _figure(1)
    names, colors = ("reference", "policy"), (_REFERENCE, _POLICY)
    heights = [evaluation[name]["pass@1"] for name in names]
    low_high = [evaluation[name]["ci95"] for name in names]
    errors = [
        [max(0.0, height - low) for height, (low, _) in zip(heights, low_high, strict=True)],
        [max(0.0, high - height) for height, (_, high) in zip(heights, low_high, strict=True)],
    ]
    axes[0].bar(names, heights, yerr=errors, color=colors, width=0.5, capsize=6)
    for index, height in enumerate(heights):
        axes[0].text(index + 0.03, height + 0.01, f"{height:.3f}")
    low, high = evaluation["gain_ci95"]
    axes[0].set(
        ylim=(0, 1),
        ylabel="pass@1",
        title=f"{evaluation['prompts']} held-out prompts: "
        f"{evaluation['gain']:+.3f} ({low:+.3f} to {high:+.3f})",
    )
    _save(figure, file)


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, 5.5) if panels > 1 else (6.5, 4), layout="constrained")
    grid = figure.subplots(2, 2).flat if panels > 1 else [figure.subplots()]
    axes = list(grid)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, file: Path) -> None:
    with replacing(file) as temporary:
        # No version or date in the file: the same data give the same bytes.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
