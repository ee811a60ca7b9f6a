"""The table and the picture of `compare`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.workload import NEW_TOKENS, PROMPT_TOKENS, PROMPTS, SAMPLES, THREADS

MEASURES = {
    "stage1_tokens_per_second": "stage 1, tokens/s",
    "stage2_seconds_per_prompt": "stage 2, s a prompt",
    "peak_rss_mib": "peak memory, MiB",
}
PLANNED = "planned_mib"
Medians = dict[str, dict[str, float | None]]


def table_of(
    medians: Medians, shape: str, *, turns: int, rates: dict[str, float], peers: tuple[str, str]
) -> str:
    """Markdown: medians, with their ratio to the first peer's in brackets, and stage 2's to the second's.

    Args:
        medians: of every measure, by contestant.
        shape: of the model.
        turns: of every contestant.
        rates: the processor's matrix products, floating point operations a second by precision.
        peers: contestants that all are compared with.
    """
    first, second = peers
    gemm = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in rates.items())
    lines = [
        f"# {shape}",
        "",
        f"{PROMPTS} prompts of {PROMPT_TOKENS} tokens, {NEW_TOKENS} new tokens, {SAMPLES} samples a prompt "
        f"in stage 1, {THREADS} threads; the processor multiplies large matrices at {gemm}. "
        f"Medians of {turns} turns in one run; in brackets the ratio to {first}.",
        "",
        "Every update of A2PO and ours is of the same batch of one response a prompt. All rows are taken at "
        "once, but by ours in float32, which adds up gradients of one row at a time. GRPO's update is of "
        "one prompt with 8 responses and, as TRL's default, without a reference. TRL's bfloat16 is autocast "
        "over float32 weights; ours are bfloat16 weights with float32 masters in the optimizer. "
        '"Light" computes activations again in the backward pass; ours then holds the reference in bfloat16. '
        "vLLM's start is not counted. TRL runs both stages in one process, ours each in its own; memory is "
        "the larger of the two, and planned for stage 2 as `apo doctor` plans it.",
        "",
        f"| | {' | '.join(MEASURES.values())} | planned, MiB | stage 2, of {second} |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in medians.items():
        cells = [_with_ratio(found[measure], medians[first][measure]) for measure in MEASURES]
        ratio = _ratio(found["stage2_seconds_per_prompt"], medians[second]["stage2_seconds_per_prompt"])
        lines.append(f"| {' | '.join([name, *cells, _number(found[PLANNED]), ratio])} |")
    return "\n".join(lines) + "\n"


def _with_ratio(value: float | None, peer: float | None) -> str:
    return "" if value is None else f"{_number(value)} ({_ratio(value, peer)})"


def _ratio(value: float | None, peer: float | None) -> str:
    return "" if value is None or peer is None else f"{value / peer:.2g}x"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(medians: Medians, shape: str, file: Path) -> None:
    """One panel a measure, ours in colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(MEASURES), figsize=(15, 3.6), layout="constrained")
    for panel, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        shown = {who: value for who, found in medians.items() if (value := found[measure]) is not None}
        colours = ["tab:blue" if name.startswith("ours") else "tab:gray" for name in shown]
        bars = panel.barh(list(shown), list(shown.values()), color=colours)
        panel.bar_label(bars, labels=[f" {_number(value)}" for value in shown.values()])
        panel.invert_yaxis()
        panel.margins(x=0.18)
        panel.set_title(title)
    figure.suptitle(shape)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
