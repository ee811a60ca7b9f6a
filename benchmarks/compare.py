"""Ours beside TRL's A2POTrainer and GRPOTrainer: `make bench`.

    python -m benchmarks.compare --peer-python PYTHON [--shape tiny|135m] [--dtype float32|bfloat16]

Every contestant is a process of its own with two threads, one at a time, in turn, several times over; what is
compared are medians of one run. Writes a table and a picture to `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workload import MICRO_BATCH, NEW_TOKENS, PROMPT_TOKENS, PROMPTS, SAMPLES, SHAPES

HERE = Path(__file__).parent
STEPS = {"ours": 2, "trl-a2po": 2, "trl-grpo": 2}  # the first warms up
MEASURES = {
    "stage1_tokens_per_second": "stage 1, tokens/s",
    "stage2_seconds_per_prompt": "stage 2, s a prompt",
    "peak_rss_mib": "peak memory, MiB",
    "planned_mib": "as planned by `apo doctor`, MiB",
}
Medians = dict[str, dict[str, float | None]]


def main() -> None:
    """Run all contestants in turn, and write what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--shape", choices=list(SHAPES), action="append")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for shape in arguments.shape or SHAPES:
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in STEPS}
        for repeat in range(arguments.repeats):
            for name in STEPS:
                runs[name].append(measure(name, arguments.peer_python, shape, arguments.dtype))
                print(
                    f"{shape}, run {repeat + 1} of {arguments.repeats}: {name}: {runs[name][-1]}", flush=True
                )
        title = f"{shape}-{arguments.dtype}"
        medians = {name: medians_of(found) for name, found in runs.items()}
        table = table_of(medians, title, arguments.repeats)
        print(table)
        results = HERE / "results"
        results.mkdir(exist_ok=True)
        (results / f"{title}.md").write_text(table, encoding="utf-8")
        (results / f"{title}.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
        draw(medians, title, results / f"{title}.png")


def measure(name: str, peer_python: Path, shape: str, dtype: str) -> dict[str, Any]:
    """One contestant's measurement; its first step, which warms up, is left out."""
    settings = ["--shape", shape, "--dtype", dtype, "--steps", str(STEPS[name])]
    if name == "ours":
        command = [sys.executable, "-m", "benchmarks.ours", *settings]
    else:
        command = [str(peer_python), "-m", "benchmarks.peer_trl", name.removeprefix("trl-"), *settings]
    environment = dict(os.environ) | {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        command, cwd=HERE.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["stage2_seconds_per_prompt"] = median(found["stage2_seconds_per_prompt"][1:])
    return found


def medians_of(runs: list[dict[str, Any]]) -> dict[str, float | None]:
    """Of every measure; None where a contestant has no such stage."""
    return {name: None if runs[0][name] is None else median(run[name] for run in runs) for name in MEASURES}


def table_of(medians: Medians, title: str, repeats: int) -> str:
    """Markdown: medians, and ours in proportion."""
    names = list(medians)
    lines = [
        f"# {title}",
        "",
        f"{PROMPTS} prompts of {PROMPT_TOKENS} tokens, {NEW_TOKENS} new tokens, {SAMPLES} samples a prompt "
        f"in stage 1, 2 threads. Medians of one run, turns each: {repeats}. One update a batch: "
        f"ours adds up gradients of {MICRO_BATCH} row at a time, TRL takes all rows at once.",
        "",
        f"| | {' | '.join(names)} | {' | '.join(f'ours / {name}' for name in names[1:])} |",
        f"|---|{'---|' * (2 * len(names) - 1)}",
    ]
    for measure_name, text in MEASURES.items():
        numbers = [medians[name][measure_name] for name in names]
        ours = numbers[0]
        shares = [None if number is None or ours is None else ours / number for number in numbers[1:]]
        cells = [*map(_number, numbers), *map(_number, shares)]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(medians: Medians, title: str, file: Path) -> None:
    """One panel a measure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    compared = [name for name in MEASURES if sum(found[name] is not None for found in medians.values()) > 1]
    figure, panels = pyplot.subplots(1, len(compared), figsize=(11, 3.2), layout="constrained")
    for panel, name in zip(panels, compared, strict=True):
        shown = {who: value for who, found in medians.items() if (value := found[name]) is not None}
        colours = ["tab:blue", *["tab:gray"] * (len(shown) - 1)]
        bars = panel.bar(list(shown), list(shown.values()), color=colours)
        panel.bar_label(bars, labels=[_label(value) for value in shown.values()])
        panel.set_title(MEASURES[name])
        panel.margins(y=0.15)
    figure.suptitle(title)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
