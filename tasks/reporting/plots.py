"""Plot the values, the training and the evaluation as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.evaluation.schema import mean_name
from apo_core.system.files import replacing

_REFERENCE, _POLICY = "#8a8f98", "#1f6feb"
_GRAYS = ("#8a8f98", "#b3b8bf", "#5c616a", "#d5d8dc", "#3d4148")  # one per reason to drop a prompt


def plot_values(values: pd.DataFrame, file: Path) -> None:
    """Histogram of V*(x): the prompts trained on, and those dropped, by reason."""
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
    if "kl" in metrics:  # absent where the algorithm needs no reference
        divergence.plot(metrics["step"], metrics["kl"], color=_POLICY)
    divergence.set(title="KL, nats per response")
    loss.plot(metrics["step"], metrics["loss"], color=_POLICY)
    loss.set(title="loss")
    length.plot(metrics["step"], metrics["response_length"], color=_POLICY)
    length.set(title="response length, tokens")
    for axis in axes[2:]:
        axis.set_xlabel("step")
    _save(figure, file)


def plot_evaluation(evaluation: dict[str, Any], file: Path) -> None:
    """Accuracies and pass@k of an evaluation, see `evaluation_figure`."""
    _save(evaluation_figure(evaluation), file)


def evaluation_figure(evaluation: dict[str, Any]) -> Figure:
    """Accuracy of reference and policy with intervals, overall and per set, beside pass@k over k."""
    blocks = {"all prompts": evaluation, **evaluation["sets"]}
    several = evaluation["samples"] > 1
    size = (10 if several else 6.5, max(3.8, 2.4 + 0.55 * len(blocks)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, 2 if several else 1, squeeze=False)[0]
    _plot_accuracies(axes[0], blocks)
    if several:
        _plot_pass_at_k(axes[1], evaluation)
    low, high = evaluation["gain_ci95"]
    figure.suptitle(
        f"gain {evaluation['gain']:+.3f} (95% {low:+.3f} to {high:+.3f}, paired) on "
        f"{evaluation['prompts']} held-out prompts"
    )
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _plot_accuracies(axis: Axes, blocks: dict[str, dict[str, Any]]) -> None:
    """One line per set, from top to bottom, with both models on it."""
    for name, colour, shift in (("reference", _REFERENCE, -0.14), ("policy", _POLICY, 0.14)):
        figures = [block[name] for block in blocks.values()]
        heights = [row + shift for row in range(len(figures))]
        means = [figure[mean_name(figure)] for figure in figures]
        below = [max(0.0, mean - figure["ci95"][0]) for mean, figure in zip(means, figures, strict=True)]
        above = [max(0.0, figure["ci95"][1] - mean) for mean, figure in zip(means, figures, strict=True)]
        axis.errorbar(
            means, heights, xerr=[below, above], fmt="o", color=colour, capsize=4, label=name, markersize=6
        )
        for mean, height, figure in zip(means, heights, figures, strict=True):
            low, high = figure["ci95"]
            right = high < 0.85  # else there is no room on that side
            x, align = (high + 0.02, "left") if right else (low - 0.02, "right")
            axis.text(x, height, f"{mean:.3f}", va="center", ha=align, fontsize=9)
    labels = [f"{_short(name)} ({block['prompts']})" for name, block in blocks.items()]
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlim=(0, 1), xlabel=f"{mean_name(figures[0])}, with 95% interval")
    axis.set_ylim(len(labels) - 0.5, -0.5)


def _short(name: str) -> str:
    """A set's name as a label: not too long, and no formula."""
    return (name if len(name) <= 24 else f"{name[:22]}...").replace("$", r"\$")


def _plot_pass_at_k(axis: Axes, evaluation: dict[str, Any]) -> None:
    """pass@k over k, or the best of k graded rewards, and maj@k where all samples vote."""
    samples = evaluation["samples"]
    graded = mean_name(evaluation["policy"]) == "reward"
    kind = "best" if graded else "pass"
    for name, colour in (("reference", _REFERENCE), ("policy", _POLICY)):
        model = evaluation[name]
        curve = sorted(
            (int(key[5:]), value)
            for key, value in model.items()
            if key.startswith(f"{kind}@") and value is not None
        )
        if graded:
            curve.insert(0, (1, model["reward"]))
        axis.plot(*zip(*curve, strict=True), "o-", color=colour, label=f"{name} {kind}@k")
        axis.plot(
            [samples],
            [model[f"maj@{samples}"]],
            "*",
            color=colour,
            markersize=13,
            label=f"{name} maj@{samples}",
        )
    ticks = [k for k, _ in curve]
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.set(ylim=(0, 1.02), xlabel="k, samples per prompt")
    axis.set_ylabel("best reward of k samples" if graded else "share of prompts solved")
    axis.grid(axis="y", alpha=0.3)


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
