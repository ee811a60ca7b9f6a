"""The comparison for people: a table, and pictures of accuracy and memory."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.files import replacing
from benchmarks.comparison.figures import Mean, Run, at_seconds, by_seed, mean_of, time_ratio

TITLES = {"apo": "A*-PO", "grpo": "GRPO", "ppo": "PPO", "rebel": "REBEL", "oapl": "OAPL"}
COLOURS = {"apo": "#1f6feb", "grpo": "#d1242f", "ppo": "#9a6700", "rebel": "#1a7f37", "oapl": "#8250df"}
OURS = "apo"


def table_of(runs: list[Run], sizes: dict[str, dict[str, Any]], *, about: str) -> str:
    """Markdown: one row an algorithm, means over seeds with half of their 95% intervals.

    Args:
        runs: of all algorithms on the same seeds, A*-PO among them.
        sizes: of every algorithm, what `at_size` has found.
        about: what was done, above the table.
    """
    names = [name for name in TITLES if by_seed(runs, name)]
    budget = fmean(run["curve"][-1]["seconds"] for run in by_seed(runs, OURS))
    lines = [
        "# Algorithms on one task",
        "",
        about,
        "",
        "At equal prompts:",
        "",
        "| | training, s | generations | response tokens | KL | sampled | greedy | collapsed |",
        "|---|---|---|---|---|---|---|---|",
        *(_at_equal_prompts(name, by_seed(runs, name)) for name in names),
        "",
        f"At equal time, {budget:.0f} s, the mean of A*-PO's, and time and memory beside A*-PO's:",
        "",
        "| | sampled | less A*-PO's | A*-PO's time to the same accuracy | peak memory, MiB |"
        " 135M: s a prompt | 135M: peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
        *(_at_equal_time(name, runs, budget, sizes) for name in names),
    ]
    return "\n".join(lines) + "\n"


def _at_equal_prompts(name: str, runs: list[Run]) -> str:
    last = [run["curve"][-1] for run in runs]
    collapsed = sum(run["collapsed"] is not None for run in runs)
    cells = [
        TITLES[name],
        _text(mean_of([point["seconds"] for point in last]), 0),
        f"{fmean(point['generations'] for point in last):,.0f}",
        f"{fmean(run['response_tokens'] for run in runs):,.0f}",
        _text(mean_of([point["kl"] for point in last]), 2),
        _text(mean_of([point["sampled"] for point in last]), 3),
        _text(mean_of([point["greedy"] for point in last]), 3),
        f"{collapsed} of {len(runs)}" if collapsed else "",
    ]
    return f"| {' | '.join(cells)} |"


def _at_equal_time(name: str, runs: list[Run], budget: float, sizes: dict[str, dict[str, Any]]) -> str:
    own, ours = by_seed(runs, name), by_seed(runs, OURS)
    pairs = list(zip(ours, own, strict=True))
    sampled = [at_seconds(run, budget, "sampled") for run in own]
    less = [at_seconds(run, budget, "sampled") - at_seconds(our, budget, "sampled") for our, run in pairs]
    size = sizes[name]
    same = name == OURS
    cells = [
        TITLES[name],
        _text(mean_of(sampled), 3),
        "" if same else _text(mean_of(less), 3),
        "" if same else _text(mean_of([time_ratio(our, run) for our, run in pairs]), 2),
        _beside([run["peak_rss_mib"] for run in own], [run["peak_rss_mib"] for run in ours], same),
        _beside([size["seconds_per_prompt"]], [sizes[OURS]["seconds_per_prompt"]], same),
        _beside([size["peak_rss_mib"]], [sizes[OURS]["peak_rss_mib"]], same),
    ]
    return f"| {' | '.join(cells)} |"


def _beside(own: list[float], ours: list[float], same: bool) -> str:
    """A mean, and A*-PO's in shares of it."""
    value = fmean(own)
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text if same else f"{text} (A*-PO {fmean(ours) / value:.2f})"


def _text(mean: Mean, digits: int) -> str:
    half = "" if mean.half != mean.half else f" ± {mean.half:.{digits}f}"
    return f"{mean.value:.{digits}f}{half}"


def draw(runs: list[Run], sizes: dict[str, dict[str, Any]], file: Path) -> None:
    """Accuracy against seconds and against generations, and memory."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    seconds, generations, memory = figure.subplots(1, 3)
    names = [name for name in TITLES if by_seed(runs, name)]
    for name in names:
        for axis, measure in ((seconds, "seconds"), (generations, "generations")):
            _curve(axis, by_seed(runs, name), measure, name)
    seconds.set(xlabel="seconds of training, A*-PO's stage 1 included", ylabel="sampled accuracy, held out")
    generations.set(xlabel="responses drawn, A*-PO's stage 1 included")
    seconds.legend(frameon=False)
    bars = memory.barh(
        [TITLES[name] for name in names],
        [sizes[name]["peak_rss_mib"] for name in names],
        color=[COLOURS[name] for name in names],
    )
    memory.bar_label(bars, fmt=" %.0f")
    memory.margins(x=0.18)
    memory.invert_yaxis()
    memory.set(xlabel="peak memory of training, MiB, 135M parameters")
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _curve(axis: Axes, runs: list[Run], measure: str, name: str) -> None:
    """Every seed's, thin, and their mean."""
    for run in runs:
        axis.plot(
            [point[measure] for point in run["curve"]],
            [point["sampled"] for point in run["curve"]],
            color=COLOURS[name],
            alpha=0.2,
            linewidth=0.8,
        )
    points = list(zip(*(run["curve"] for run in runs), strict=False))  # a collapsed run has fewer
    axis.plot(
        [fmean(point[measure] for point in at) for at in points],
        [fmean(point["sampled"] for point in at) for at in points],
        color=COLOURS[name],
        marker=".",
        label=TITLES[name],
    )
