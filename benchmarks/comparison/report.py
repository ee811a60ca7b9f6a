"""The comparison for people: a table, and pictures of accuracy and memory."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apo_core.files import replacing
from benchmarks.comparison.figures import (
    Mean,
    Run,
    at_seconds,
    finished,
    mean_of,
    mean_ratio,
    of_algorithm,
    pairs,
    time_ratio,
)

TITLES = {
    "apo": "A*-PO",
    "apo-centred": "A*-PO, centred",
    "grpo": "GRPO",
    "ppo": "PPO",
    "rebel": "REBEL",
    "oapl": "OAPL",
}
COLOURS = {
    "apo": "#1f6feb",
    "apo-centred": "#54aeff",
    "grpo": "#d1242f",
    "ppo": "#9a6700",
    "rebel": "#1a7f37",
    "oapl": "#8250df",
}
OURS = "apo"
Sizes = dict[str, dict[str, Any]]  # of every algorithm, what `at_size` has found


def table_of(runs: list[Run], sizes: Sizes, *, about: list[str]) -> str:
    """Markdown: one row an algorithm, means over the seeds that did not collapse, with 95% intervals.

    Args:
        runs: of all algorithms on the same seeds, A*-PO among them.
        sizes: of all algorithms.
        about: paragraphs on what was done, above the table.
    """
    names = [name for name in TITLES if of_algorithm(runs, name)]
    ends = [run["curve"][-1]["seconds"] for run in finished(of_algorithm(runs, OURS))]
    lines = [
        "# Algorithms on one task",
        *(line for paragraph in about for line in ("", paragraph)),
        "",
        "## At equal prompts",
        "",
        "| | prompts | training, s | generations | response tokens | KL | sampled | greedy | collapsed |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_at_equal_prompts(name, of_algorithm(runs, name)) for name in names),
        "",
        "## At equal time, and to equal accuracy",
        "",
        f"When A*-PO's run of the same seed ends ({mean_text(mean_of(ends), 0)} s), between two points of a "
        "curve by a straight line; and A*-PO's time in shares of the other's to 90% of the gain that both "
        "have.",
        "",
        "| | sampled at equal time | more than A*-PO's | A*-PO's time to equal accuracy |",
        "|---|---|---|---|",
        *(_at_equal_time(name, runs) for name in names),
        "",
        "## Memory, and a larger model",
        "",
        "Peak of the process (A*-PO's: the larger of both stages), and a step of 8 prompts on 135 million "
        "parameters (`benchmarks/comparison/at_size.py`; without A*-PO's stage 1); in brackets A*-PO's in "
        "shares of it.",
        "",
        "| | peak memory, MiB | 135M: peak memory, MiB | 135M: s a prompt | responses a prompt |",
        "|---|---|---|---|---|",
        *(_size(name, runs, sizes) for name in names),
    ]
    return "\n".join(lines) + "\n"


def _at_equal_prompts(name: str, runs: list[Run]) -> str:
    good = finished(runs)
    last = [run["curve"][-1] for run in good]
    cells = [
        TITLES[name],
        *_counts([point["prompts"] for point in last]),
        mean_text(mean_of([point["seconds"] for point in last]), 0),
        *_counts([point["generations"] for point in last]),
        *_counts([run["response_tokens"] for run in good]),
        mean_text(mean_of([point["kl"] for point in last]), 2),
        mean_text(mean_of([point["sampled"] for point in last]), 3),
        mean_text(mean_of([point["greedy"] for point in last]), 3),
        f"{len(runs) - len(good)} of {len(runs)}",
    ]
    return f"| {' | '.join(cells)} |"


def _counts(numbers: list[float]) -> list[str]:
    return [f"{fmean(numbers):,.0f}" if numbers else ""]


def _at_equal_time(name: str, runs: list[Run]) -> str:
    both = pairs(runs, OURS, name)
    ends = [our["curve"][-1]["seconds"] for our, _ in both]
    sampled = [at_seconds(run, end, "sampled") for (_, run), end in zip(both, ends, strict=True)]
    more = [found - our["curve"][-1]["sampled"] for found, (our, _) in zip(sampled, both, strict=True)]
    ratios = [time_ratio(our, run) for our, run in both]
    cells = [TITLES[name], _known(sampled, 3)]
    cells += ["", ""] if name == OURS else [_known(more, 3), _known(ratios, 2, ratio=True)]
    return f"| {' | '.join(cells)} |"


def _known(numbers: list[float], digits: int, *, ratio: bool = False) -> str:
    """A mean over the seeds that have the number, and how many have none."""
    known = [number for number in numbers if not math.isnan(number)]
    missing = len(numbers) - len(known)
    note = f" ({missing} of {len(numbers)} have none)" if missing else ""
    return mean_text(mean_ratio(known) if ratio else mean_of(known), digits) + note


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
    points = list(zip(*(run["curve"] for run in finished(runs)), strict=True))
    axis.plot(
        [fmean(point[measure] for point in at) for at in points],
        [fmean(point["sampled"] for point in at) for at in points],
        color=COLOURS[name],
        marker=".",
        label=TITLES[name],
    )
