"""Table and picture of `compare.py`."""

from __future__ import annotations

from pathlib import Path

from apo_core.plan.hardware import Rates
from benchmarks.phases import Phase
from benchmarks.workload import NEW_TOKENS, PROMPT_TOKENS, PROMPTS, SAMPLES, THREADS

MEASURES = {
    "stage1_tokens_per_second": "stage 1, tokens/s",
    "stage2_seconds_per_prompt": "stage 2, s per prompt",
    "peak_rss_mib": "peak memory, MiB",
}
PLANNED = "planned_mib"
Medians = dict[str, dict[str, float | None]]


def table_of(
    medians: Medians,
    floors: dict[str, dict[str, float]],
    shape: str,
    *,
    turns: int,
    rates: Rates,
    peers: tuple[str, str],
) -> str:
    """Markdown table of medians with their ratios to the peers' medians and their shares of the floor.

    Args:
        medians: Medians of all measures by contestant.
        floors: What the measures of both stages would be if only arithmetic and traffic took time.
        shape: Name of the model's shape.
        turns: Number of turns per contestant.
        rates: Of this machine, medians over the run.
        peers: Two contestants: all measures are compared with the first, stage 2 with the second, too.
    """
    first, second = peers
    lines = [
        f"# {shape}",
        "",
        f"{PROMPTS} prompts of {PROMPT_TOKENS} tokens, {NEW_TOKENS} new tokens, {SAMPLES} samples per prompt "
        f"in stage 1, {THREADS} threads; the processor multiplies large matrices at "
        f"{rates.float32 / 1e9:.0f} GFLOP/s in float32, {rates.bfloat16 / 1e9:.0f} in bfloat16, and reads "
        f"{rates.bandwidth / 1e9:.1f} GB/s. "
        f"Medians of {turns} turns in one run; in brackets the ratio to {first}.",
        "",
        "A2PO and ours update on the same batch with one response per prompt. The batch is one micro-batch, "
        "except for ours in float32, which accumulates gradients over micro-batches of one row. A GRPO "
        "update is of one prompt with 8 responses and, by TRL's default, without a reference policy. TRL's "
        "bfloat16 is autocast over float32 weights; ours is bfloat16 weights with float32 master weights in "
        'the optimizer. "Light" means gradient checkpointing; ours then also holds the reference policy in '
        "bfloat16. The start of vLLM is not counted. TRL runs both stages in one process, ours runs each in "
        "its own: peak memory is that of the larger. Planned is what `apo doctor` expects of stage 2. The "
        "floor is the time of the arithmetic at the matrix rate above, plus that of reading weights and "
        "key-value cache and of stepping the optimizer's state at the bandwidth above, with nothing else; "
        "that of light rows has their second forward pass in it.",
        "",
        f"| | {' | '.join(MEASURES.values())} | planned, MiB | stage 2, ratio to {second} "
        "| of the floor, stage 1 | of the floor, stage 2 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, measures in medians.items():
        cells = [_with_ratio(measures[measure], medians[first][measure]) for measure in MEASURES]
        ratio = _ratio(measures["stage2_seconds_per_prompt"], medians[second]["stage2_seconds_per_prompt"])
        shares = _shares(measures, floors[name])
        lines.append(f"| {' | '.join([name, *cells, _number(measures[PLANNED]), ratio, *shares])} |")
    return "\n".join(lines) + "\n"


def _shares(measures: dict[str, float | None], floors: dict[str, float]) -> tuple[str, str]:
    rate, seconds = measures["stage1_tokens_per_second"], measures["stage2_seconds_per_prompt"]
    return (
        f"{rate / floors['stage1_tokens_per_second']:.0%}" if rate else "",
        f"{floors['stage2_seconds_per_prompt'] / seconds:.0%}" if seconds else "",
    )


def phases_of(dtype: str, phases: list[Phase]) -> str:
    """Markdown table of where the time of ours goes, and of how much is lost where."""
    lines = [
        "",
        f"Ours in {dtype}, phase by phase, each once, at the rates measured right before it:",
        "",
        "| phase | seconds | floor | of the floor | seconds beyond it |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {each.name} | {each.seconds:.3f} | {each.floor:.3f} | {each.share:.0%} "
            f"| {each.seconds - each.floor:.3f} |"
            for each in phases
        ),
    ]
    return "\n".join(lines) + "\n"


def _with_ratio(value: float | None, peer: float | None) -> str:
    return "" if value is None else f"{_number(value)} ({_ratio(value, peer)})"


def _ratio(value: float | None, peer: float | None) -> str:
    return "" if value is None or peer is None else f"{value / peer:.2g}x"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(medians: Medians, shape: str, file: Path) -> None:
    """Plot the medians: one panel per measure, ours in blue."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(MEASURES), figsize=(15, 3.6), layout="constrained")
    for panel, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        shown = {name: value for name, own in medians.items() if (value := own[measure]) is not None}
        colours = ["tab:blue" if name.startswith("ours") else "tab:gray" for name in shown]
        bars = panel.barh(list(shown), list(shown.values()), color=colours)
        panel.bar_label(bars, labels=[f" {_number(value)}" for value in shown.values()])
        panel.invert_yaxis()
        panel.margins(x=0.18)
        panel.set_title(title)
    figure.suptitle(shape)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
