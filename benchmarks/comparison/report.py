"""The comparison's report: tables in Markdown, and a picture of accuracy and memory."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.system.files import replacing
from benchmarks.comparison.curves import (
    Mean,
    Run,
    earliest_end,
    geometric_mean,
    mean_with_interval,
    not_collapsed,
    pairs_by_seed,
    runs_of_algorithm,
    runs_of_seed,
    time_ratio,
    value_at,
)

TITLES = {
    "apo": "A*-PO",
    "apo-options": "A*-PO, with options",
    "grpo": "GRPO",
    "ppo": "PPO",
    "rebel": "REBEL",
    "oapl": "OAPL",
}
COLOURS = {
    "apo": "#1f6feb",
    "apo-options": "#54aeff",
    "grpo": "#d1242f",
    "ppo": "#9a6700",
    "rebel": "#1a7f37",
    "oapl": "#8250df",
}
OURS = "apo"
_GRID = 17  # points of a mean curve in the picture
Sizes = dict[str, dict[str, Any]]  # by algorithm: what `at_size.py` measured


def table_of(runs: list[Run], sizes: Sizes, *, about: list[str]) -> str:
    """Markdown tables with one row per algorithm: means over the seeds that did not collapse, 95% intervals.

    Args:
        runs: Runs of all algorithms on the same seeds; A*-PO is one of the algorithms.
        sizes: Measurements at 135M by algorithm.
        about: Paragraphs above the tables on how the comparison was done.
    """
    names = [name for name in TITLES if runs_of_algorithm(runs, name)]
    if not not_collapsed(runs):
        return f"# Algorithms on one task\n\nAll {len(runs)} runs collapsed.\n"
    ends = _ends(runs)
    prompts = earliest_end(not_collapsed(runs), "prompts")
    lines = [
        "# Algorithms on one task",
        *(line for paragraph in about for line in ("", paragraph)),
        "",
        "## At equal time, and to equal accuracy",
        "",
        f"After {mean_text(mean_with_interval(list(ends.values())), 0)} s: on each seed, the time of the "
        "last checkpoint of the run that ends first. Curves are interpolated linearly. The difference to "
        "A*-PO, and the ratio of A*-PO's time to the algorithm's until 90% of the gain that both reach, are "
        "means over the seeds on which neither collapsed.",
        "",
        "| | sampled | difference to A*-PO | greedy | KL | ratio of A*-PO's time | collapsed |",
        "|---|---|---|---|---|---|---|",
        *(_at_equal_time(name, runs, ends) for name in names),
        "",
        "## At equal prompts",
        "",
        f"After {prompts:,.0f} prompts (a prompt counts each time that it is trained on): the last "
        "checkpoint of the run that saw the fewest.",
        "",
        "| | training, s | generations | response tokens | sampled | greedy | KL |",
        "|---|---|---|---|---|---|---|",
        *(_at_equal_prompts(name, runs, prompts) for name in names),
        "",
        "## Memory, and a larger model",
        "",
        "Peak memory of the process (for A*-PO the larger of both stages), and a training step of 8 prompts "
        "with 135 million parameters (`benchmarks/comparison/at_size.py`; without A*-PO's stage 1), each "
        "algorithm with its settings above; in brackets A*-PO's figure as a multiple of the algorithm's.",
        "",
        "| | peak memory, MiB | 135M: peak memory, MiB | 135M: s per prompt | responses per prompt |",
        "|---|---|---|---|---|",
        *(_size(name, runs, sizes) for name in names),
    ]
    return "\n".join(lines) + "\n"


def _ends(runs: list[Run]) -> dict[int, float]:
    """Seconds at which a seed's runs are compared, for each seed on which a run did not collapse."""
    seeds = sorted({run["seed"] for run in not_collapsed(runs)})
    return {seed: earliest_end(not_collapsed(runs_of_seed(runs, seed)), "seconds") for seed in seeds}


def _at_equal_time(name: str, runs: list[Run], ends: dict[int, float]) -> str:
    own = runs_of_algorithm(runs, name)
    good = not_collapsed(own)

    def then(run: Run, measure: str) -> float:
        return value_at(run, "seconds", ends[run["seed"]], measure)

    both = pairs_by_seed(runs, OURS, name)
    differences = [then(run, "sampled") - then(our, "sampled") for our, run in both]
    ratios = [time_ratio(our, run) for our, run in both]
    cells = [
        TITLES[name],
        mean_text(mean_with_interval([then(run, "sampled") for run in good]), 3),
        ""
        if name == OURS
        else mean_text(mean_with_interval(differences), 3) + _note_missing_pairs(len(both), len(own)),
        mean_text(mean_with_interval([then(run, "greedy") for run in good]), 3),
        mean_text(mean_with_interval([then(run, "kl") for run in good]), 2),
        "" if name == OURS else _mean_ratio_text(ratios),
        f"{len(own) - len(good)} of {len(own)}",
    ]
    return f"| {' | '.join(cells)} |"


def _at_equal_prompts(name: str, runs: list[Run], prompts: float) -> str:
    good = not_collapsed(runs_of_algorithm(runs, name))

    def then(measure: str) -> list[float]:
        return [value_at(run, "prompts", prompts, measure) for run in good]

    cells = [
        TITLES[name],
        mean_text(mean_with_interval(then("seconds")), 0),
        *(f"{fmean(then(counted)):,.0f}" if good else "" for counted in ("generations", "response_tokens")),
        mean_text(mean_with_interval(then("sampled")), 3),
        mean_text(mean_with_interval(then("greedy")), 3),
        mean_text(mean_with_interval(then("kl")), 2),
    ]
    return f"| {' | '.join(cells)} |"


def _note_missing_pairs(pairs: int, seeds: int) -> str:
    return f" ({pairs} of {seeds} seeds)" if pairs < seeds else ""


def _mean_ratio_text(ratios: list[float]) -> str:
    """Mean of the known ratios, with their number where some are NaN."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    note = f" ({len(known)} of {len(ratios)} have one)" if len(known) < len(ratios) else ""
    return mean_text(geometric_mean(known), 2) + note


def _size(name: str, runs: list[Run], sizes: Sizes) -> str:
    tiny = {key: fmean(run["peak_rss_mib"] for run in runs_of_algorithm(runs, key)) for key in (name, OURS)}
    cells = [TITLES[name], _with_our_ratio(tiny[name], tiny[OURS], name)]
    for measure in ("peak_rss_mib", "seconds_per_prompt"):
        cells.append(_with_our_ratio(sizes[name][measure], sizes[OURS][measure], name))
    return f"| {' | '.join([*cells, str(sizes[name]['responses'])])} |"


def _with_our_ratio(value: float, ours: float, name: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text if name == OURS else f"{text} ({ours / value:.2f}x)"


def mean_text(mean: Mean, digits: int) -> str:
    """A mean and its interval as text; empty for NaN."""
    if math.isnan(mean.value):
        return ""
    interval = "" if math.isnan(mean.low) else f" [{mean.low:.{digits}f}, {mean.high:.{digits}f}]"
    return f"{mean.value:.{digits}f}{interval}"


def plot(runs: list[Run], sizes: Sizes, file: Path) -> None:
    """Plot accuracy against seconds and against generations, and peak memory."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    seconds, generations, memory = figure.subplots(1, 3)
    names = [name for name in TITLES if runs_of_algorithm(runs, name)]
    for name in names:
        for axis, measure in ((seconds, "seconds"), (generations, "generations")):
            _plot_curve(axis, runs_of_algorithm(runs, name), measure, name)
    seconds.set(xlabel="seconds of training, A*-PO's stage 1 included", ylabel="sampled accuracy, held out")
    generations.set(xlabel="responses sampled, A*-PO's stage 1 included")
    seconds.legend(frameon=False)
    bars = memory.barh(
        [TITLES[name] for name in names],
        [sizes[name]["peak_rss_mib"] for name in names],
        color=[COLOURS[name] for name in names],
    )
    memory.bar_label(bars, fmt=" %.0f")
    memory.margins(x=0.18)
    memory.invert_yaxis()
    memory.set(xlabel="peak memory of training 135M parameters, MiB")
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _plot_curve(axis: Axes, runs: list[Run], measure: str, name: str) -> None:
    """Plot every seed's curve thinly, and the mean of those that did not collapse."""
    for run in runs:
        axis.plot(
            [point[measure] for point in run["curve"]],
            [point["sampled"] for point in run["curve"]],
            color=COLOURS[name],
            alpha=0.2,
            linewidth=0.8,
        )
    good = not_collapsed(runs)
    grid = np.linspace(0.0, earliest_end(good, measure), _GRID) if good else np.array([])
    axis.plot(
        grid,
        [fmean(value_at(run, measure, position, "sampled") for run in good) for position in grid],
        color=COLOURS[name],
        marker=".",
        label=TITLES[name],
    )
