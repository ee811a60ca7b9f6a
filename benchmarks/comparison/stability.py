"""When A*-PO collapses, and when a guard would have seen it.

    python -m benchmarks.comparison.stability [--parallel N]

Trainings on the embedded task without a guard, over learning rates, updates a batch and baselines: V* of
several beta1, and `algorithm.centre`. What any guard would have done is then read off their metrics: the step
at which it stops a run that collapses, and how many runs it stops that do not. Writes
`benchmarks/results/stability.{md,json,png}`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from apo_core.errors import PolicyCollapse
from apo_core.files import read_json, replacing, write_json, write_text
from apo_core.tables import VALUES, read_table
from apo_core.training.guard import Guard
from benchmarks.apart import ROOT, threads_of
from benchmarks.comparison.arena import PRESET, make_arena, make_base
from benchmarks.comparison.trial import run_trial
from tasks.lock import only_run
from tasks.resume import open_work
from tasks.workspace import Workspace

SEED, STEPS, WINDOW = 0, 48, 5
_FALLEN = 0.9  # of the reward that it began with: noise alone does not take it there
RATES, UPDATES = (1e-4, 4e-4, 1e-3), (1, 2, 4)
BASELINES = {
    "beta1 0.1": ["values.beta1=0.1"],
    "beta1 0.5": ["values.beta1=0.5"],
    "beta1 5": ["values.beta1=5.0"],
    "beta1 0.5, centred": ["values.beta1=0.5", "algorithm.centre=true"],
}
NO_GUARD = [
    "train.guard.max_kl=1000000000.0",
    "train.guard.min_reward_share=0.0",
    "train.guard.min_length_share=0.0",
]
MAX_KLS, REWARD_SHARES = (5.0, 10.0, 20.0, 50.0, 100.0), (0.25, 0.5, 0.75)
# Of a training: `rate`, `baseline`, `updates`, and a `reward`, `kl` and `response_length` for every step.
Traced = dict[str, Any]


def main() -> None:
    """Train, and write table, picture and all numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "data/unfinished/stability")
    parser.add_argument("--parallel", type=int, default=1, help="trainings at a time, which share the cores")
    arguments = parser.parse_args()
    threads = threads_of(arguments.parallel)
    conditions = {"params": PRESET.read_text("utf-8"), "steps": STEPS, "seed": SEED}
    conditions |= {"baselines": BASELINES, "guard": NO_GUARD}
    with only_run(Workspace(arguments.work)), ThreadPoolExecutor(arguments.parallel) as pool:
        work = open_work(arguments.work / "kept", conditions)
        arena = make_arena(make_base(PRESET, work / "base", threads), SEED, work / "arena", threads)
        jobs = [(rate, baseline, 1) for rate in RATES for baseline in BASELINES]
        jobs += [(RATES[0], baseline, updates) for updates in UPDATES[1:] for baseline in BASELINES]
        traces = list(pool.map(partial(trace, arena, work, threads), *zip(*jobs, strict=True)))
    table = read_table(arena.values, VALUES)
    start = float(table.loc[table["dropped"].isna(), "mean_reward"].mean())
    results = ROOT / "benchmarks/results"
    write_text(results / "stability.json", json.dumps({"mean_reward": start, "traces": traces}) + "\n")
    text = table_of(traces, start)
    write_text(results / "stability.md", text)
    draw(traces, start, results / "stability.png")
    print(text)
    shutil.rmtree(arguments.work)


def trace(arena: Workspace, work: Path, threads: int, rate: float, baseline: str, updates: int) -> Traced:
    """One training; its result stays in a file, and is not made again while that is there."""
    directory = work / f"{rate}, {baseline}, {updates}"
    kept = work / f"{directory.name}.json"
    if not kept.exists():
        settings = [
            f"train.learning_rate={rate}",
            *BASELINES[baseline],
            f"algorithm.minibatches={updates}",
            *NO_GUARD,
        ]
        trial = run_trial(
            arena,
            directory,
            settings,
            steps=STEPS,
            checkpoint_every=STEPS,
            keep=1,
            seconds=None,
            threads=threads,
        )
        found = {name: [row[name] for row in trial.rows] for name in ("reward", "kl", "response_length")}
        write_json(kept, {"rate": rate, "baseline": baseline, "updates": updates, **found})
        shutil.rmtree(directory)
        print(f"{directory.name}: {_last(found['reward']):.3f}", flush=True)
    traced: Traced = read_json(kept)
    return traced


def collapsed(traced: Traced, start: float) -> bool:
    """It ends worse than it began, or before its last step."""
    return len(traced["reward"]) < STEPS or _last(traced["reward"]) < _FALLEN * start


def _last(numbers: list[float]) -> float:
    """The mean of the last steps; NaN where there was not one."""
    return fmean(numbers[-WINDOW:]) if numbers else math.nan


def stopped_at(traced: Traced, start: float, *, max_kl: float, reward_share: float) -> int | None:
    """The step at which a guard would have stopped the training; None if it would not have."""
    guard = Guard(window=WINDOW, max_kl=max_kl, min_reward=reward_share * start, min_length_share=0.1)
    names = ("reward", "kl", "response_length")
    for step, numbers in enumerate(zip(*(traced[name] for name in names), strict=True), 1):
        try:
            guard.observe(dict(zip(names, numbers, strict=True)) | {"step": step})
        except PolicyCollapse:
            return step
    return None


def table_of(traces: list[Traced], start: float) -> str:
    """Markdown: every training, then every guard."""
    lines = [
        "# Stability of A*-PO",
        "",
        f"presets/embedded.yaml, {STEPS} steps of 256 prompts, one seed, no guard. Mean reward and KL of "
        f"the last {WINDOW} steps; stage 1's mean reward on the same prompts is {start:.3f}. A training that "
        f"ends below {_FALLEN:g} of it has collapsed.",
        "",
        f"| learning rate | updates a batch | {' | '.join(BASELINES)} |",
        f"|---|---|{'---|' * len(BASELINES)}",
    ]
    for rate, updates in dict.fromkeys((one["rate"], one["updates"]) for one in traces):
        own = {one["baseline"]: one for one in traces if (one["rate"], one["updates"]) == (rate, updates)}
        cells = [_ending(own[baseline], start) for baseline in BASELINES]
        lines.append(f"| {rate:g} | {updates} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_guards(traces, start)]) + "\n"


def _guards(traces: list[Traced], start: float) -> list[str]:
    """What guards would have done, the present one's window and length rule in all of them."""
    fallen = [one for one in traces if collapsed(one, start)]
    standing = [one for one in traces if not collapsed(one, start)]
    lines = [
        f"Guards over {WINDOW} steps: how many of {len(fallen)} collapses, centred ones among them, each "
        f"sees, and at which steps; and how many of the other {len(standing)} trainings it stops.",
        "",
        "| max_kl | min_reward_share | collapses seen | at steps | others stopped |",
        "|---|---|---|---|---|",
    ]
    for max_kl in MAX_KLS:
        for share in REWARD_SHARES:
            stop = partial(stopped_at, start=start, max_kl=max_kl, reward_share=share)
            seen = [step for one in fallen if (step := stop(one)) is not None]
            wrong = sum(stop(one) is not None for one in standing)
            steps = ", ".join(map(str, sorted(seen)))
            lines.append(f"| {max_kl:g} | {share:g} | {len(seen)} | {steps} | {wrong} |")
    return lines


def _ending(traced: Traced, start: float) -> str:
    text = f"{_last(traced['reward']):.3f}, KL {_last(traced['kl']):.3g}"
    return f"**{text}, collapsed**" if collapsed(traced, start) else text


def draw(traces: list[Traced], start: float, file: Path) -> None:
    """Rewards over the steps, one panel a learning rate and number of updates."""
    settings = list(dict.fromkeys((one["rate"], one["updates"]) for one in traces))
    figure = Figure(figsize=(3.4 * len(settings), 3.2), layout="constrained")
    for axis, (rate, updates) in zip(figure.subplots(1, len(settings), sharey=True), settings, strict=True):
        for one in traces:
            if (one["rate"], one["updates"]) == (rate, updates):
                axis.plot(range(1, len(one["reward"]) + 1), one["reward"], label=one["baseline"])
        axis.axhline(start, color="#8a8f98", linewidth=0.8, linestyle="--")
        axis.set(title=f"rate {rate:g}, {updates} update(s) a batch", xlabel="step", ylim=(0, 1))
    figure.axes[0].set_ylabel("mean reward")
    figure.axes[0].legend(frameon=False)
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


if __name__ == "__main__":
    main()
