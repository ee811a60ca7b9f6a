"""The comparison for people: a table, and pictures of accuracy and memory."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.system.files import replacing
from benchmarks.comparison.figures import (
    Mean,
    Run,
    at,
    common_end,
    finished,
    mean_of,
    mean_ratio,
    of_algorithm,
    of_seed,
    pairs,
    time_ratio,
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
_GRID = 17  # places at which a mean curve is drawn
Sizes = dict[str, dict[str, Any]]  # of every algorithm, what `at_size` has found


def table_of(runs: list[Run], sizes: Sizes, *, about: list[str]) -> str:
    """Markdown: one row an algorithm, means over the seeds that did not collapse, with 95% intervals.

    Args:
        runs: of all algorithms on the same seeds, A*-PO among them.
        sizes: of all algorithms.
        about: paragraphs on what was done, above the table.
    """
    names = [name for name in TITLES if of_algorithm(runs, name)]
    if not finished(runs):
        return f"# Algorithms on one task\n\nAll {len(runs)} runs collapsed.\n"
    ends = _ends(runs)
    prompts = common_end(finished(runs), "prompts")
    lines = [
        "# Algorithms on one task",
        *(line for paragraph in about for line in ("", paragraph)),
        "",
        "## At equal time, and to equal accuracy",
        "",
        f"After {mean_text(mean_of(list(ends.values())), 0)} s, where the first run of the same seed has its "
        "last checkpoint, between two points of a curve by a straight line. The difference, and A*-PO's "
        "time in shares of the other's to 90% of the gain that both have, are means over the seeds on which "
        "neither collapsed.",
        "",
        "| | sampled | more than A*-PO's | greedy | KL | A*-PO's time to equal accuracy | collapsed |",
        "|---|---|---|---|---|---|---|",
        *(_at_equal_time(name, runs, ends) for name in names),
        "",
        "## At equal prompts",
        "",
        f"After {prompts:,.0f} prompts, counted as often as they were met: where the run that met the fewest "
        "has its last checkpoint.",
        "",
        "| | training, s | generations | response tokens | sampled | greedy | KL |",
        "|---|---|---|---|---|---|---|",
        *(_at_equal_prompts(name, runs, prompts) for name in names),
        "",
        "## Memory, and a larger model",
        "",
        "Peak of the process (A*-PO's: the larger of both stages), and a step of 8 prompts on 135 million "
        "parameters (`benchmarks/comparison/at_size.py`; without A*-PO's stage 1), each algorithm as its "
        "settings above say; in brackets A*-PO's in shares of it.",
        "",
        "| | peak memory, MiB | 135M: peak memory, MiB | 135M: s a prompt | responses a prompt |",
        "|---|---|---|---|---|",
        *(_size(name, runs, sizes) for name in names),
    ]
    return "\n".join(lines) + "\n"


def _ends(runs: list[Run]) -> dict[int, float]:
    """Of each seed on which something finished, the seconds at which its runs are compared."""
    seeds = sorted({run["seed"] for run in finished(runs)})
    return {seed: common_end(finished(of_seed(runs, seed)), "seconds") for seed in seeds}


def _at_equal_time(name: str, runs: list[Run], ends: dict[int, float]) -> str:
    own = of_algorithm(runs, name)
    good = finished(own)

    def then(run: Run, measure: str) -> float:
        return at(run, "seconds", ends[run["seed"]], measure)

    both = pairs(runs, OURS, name)
    more = [then(run, "sampled") - then(our, "sampled") for our, run in both]
    ratios = [time_ratio(our, run) for our, run in both]
    cells = [
        TITLES[name],
        mean_text(mean_of([then(run, "sampled") for run in good]), 3),
        "" if name == OURS else mean_text(mean_of(more), 3) + _of_fewer(len(both), len(own)),
        mean_text(mean_of([then(run, "greedy") for run in good]), 3),
        mean_text(mean_of([then(run, "kl") for run in good]), 2),
        "" if name == OURS else _known_ratio(ratios),
        f"{len(own) - len(good)} of {len(own)}",
    ]
    return f"| {' | '.join(cells)} |"


def _at_equal_prompts(name: str, runs: list[Run], prompts: float) -> str:
    good = finished(of_algorithm(runs, name))

    def then(measure: str) -> list[float]:
        return [at(run, "prompts", prompts, measure) for run in good]

    cells = [
        TITLES[name],
        mean_text(mean_of(then("seconds")), 0),
        *(f"{fmean(then(counted)):,.0f}" if good else "" for counted in ("generations", "response_tokens")),
        mean_text(mean_of(then("sampled")), 3),
        mean_text(mean_of(then("greedy")), 3),
        mean_text(mean_of(then("kl")), 2),
    ]
    return f"| {' | '.join(cells)} |"


def _of_fewer(pairs_left: int, seeds: int) -> str:
    return f" ({pairs_left} of {seeds} seeds)" if pairs_left < seeds else ""


def _known_ratio(ratios: list[float]) -> str:
    """The mean over the seeds that have one, and how many that are where not all."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    note = f" ({len(known)} of {len(ratios)} have one)" if len(known) < len(ratios) else ""
    return mean_text(mean_ratio(known), 2) + note


def _size(name: str, runs: list[Run], sizes: Sizes) -> str:
    tiny = {one: fmean(run["peak_rss_mib"] for run in of_algorithm(runs, one)) for one in (name, OURS)}
    cells = [TITLES[name], _beside(tiny[name], tiny[OURS], name)]
    for measure in ("peak_rss_mib", "seconds_per_prompt"):
        cells.append(_beside(sizes[name][measure], sizes[OURS][measure], name))
    return f"| {' | '.join([*cells, str(sizes[name]['responses'])])} |"


def _beside(value: float, ours: float, name: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text if name == OURS else f"{text} ({ours / value:.2f}x)"


def mean_text(mean: Mean, digits: int) -> str:
    """A mean and its interval; nothing where there is none."""
    if math.isnan(mean.value):
        return ""
    between = "" if math.isnan(mean.low) else f" [{mean.low:.{digits}f}, {mean.high:.{digits}f}]"
    return f"{mean.value:.{digits}f}{between}"


def draw(runs: list[Run], sizes: Sizes, file: Path) -> None:
    """Accuracy against seconds and against generations, and memory."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    seconds, generations, memory = figure.subplots(1, 3)
    names = [name for name in TITLES if of_algorithm(runs, name)]
    for name in names:
        for axis, measure in ((seconds, "seconds"), (generations, "generations")):
            _curve(axis, of_algorithm(runs, name), measure, name)
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
    memory.set(xlabel="peak memory of training 135M parameters, MiB")
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _curve(axis: Axes, runs: list[Run], measure: str, name: str) -> None:
    """Every seed's, thin, and the mean of those that did not collapse."""
    for run in runs:
        axis.plot(
            [point[measure] for point in run["curve"]],
            [point["sampled"] for point in run["curve"]],
            color=COLOURS[name],
            alpha=0.2,
            linewidth=0.8,
        )
    good = finished(runs)
    grid = np.linspace(0.0, common_end(good, measure), _GRID) if good else np.array([])
    axis.plot(
        grid,
        [fmean(at(run, measure, where, "sampled") for run in good) for where in grid],
        color=COLOURS[name],
        marker=".",
        label=TITLES[name],
    )
