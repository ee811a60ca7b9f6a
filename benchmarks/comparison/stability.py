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

from apo_core.config.file import load_params
from apo_core.errors import PolicyCollapse
from apo_core.system.files import replacing, write_text
from apo_core.tables import VALUES, read_table
from apo_core.training.guard import Guard
from benchmarks.apart import ROOT, threads_of
from benchmarks.comparison.arena import PRESET, make_arena, make_base
from benchmarks.comparison.kept import kept_of_training
from benchmarks.comparison.trial import run_trial
from tasks.lock import only_run
from tasks.responses.shards import open_work
from tasks.workspace import Workspace

_WORK = ROOT / "data/unfinished/stability"
SEEDS, STEPS, WINDOW = (101, 102), 48, 5
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
# Of a training: `seed`, `rate`, `baseline`, `updates`, `start`, stage 1's mean reward on the prompts that are
# trained on, and a `reward`, `kl` and `response_length` for every step.
Traced = dict[str, Any]


def main() -> None:
    """Train, and write table, picture and all numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parallel", type=int, default=1, help="trainings at a time, which share the cores")
    arguments = parser.parse_args()
    threads = threads_of(arguments.parallel)
    conditions = {"params": PRESET.read_text("utf-8"), "steps": STEPS, "seeds": list(SEEDS)}
    conditions |= {"baselines": BASELINES, "guard": NO_GUARD}
    with only_run(Workspace(_WORK)), ThreadPoolExecutor(arguments.parallel) as pool:
        work = open_work(_WORK / "kept", conditions)
        base = make_base(PRESET, work / "base", threads)
        arenas = list(pool.map(lambda seed: make_arena(base, seed, work / f"arena-{seed}", threads), SEEDS))
        settings = [(rate, baseline, 1) for rate in RATES for baseline in BASELINES]
        settings += [(RATES[0], baseline, updates) for updates in UPDATES[1:] for baseline in BASELINES]
        jobs = [(arena, *setting) for arena in arenas for setting in settings]
        traces = list(pool.map(partial(trace, work, threads), *zip(*jobs, strict=True)))
    results = ROOT / "benchmarks/results"
    write_text(results / "stability.json", json.dumps(traces) + "\n")
    text = table_of(traces)
    write_text(results / "stability.md", text)
    draw(traces, results / "stability.png")
    print(text)
    shutil.rmtree(_WORK)


def trace(work: Path, threads: int, arena: Workspace, rate: float, baseline: str, updates: int) -> Traced:
    """One training; its result stays in a file, and is not made again while that is there."""
    seed = load_params(arena.params).seed
    directory = work / f"{seed}, {rate}, {baseline}, {updates}"

    def make() -> Traced:
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
        print(f"{directory.name}: {_last(found['reward']):.3f}", flush=True)
        table = read_table(arena.values, VALUES)
        start = float(table.loc[table["dropped"].isna(), "mean_reward"].mean())
        setting = {"seed": seed, "rate": rate, "baseline": baseline, "updates": updates, "start": start}
        return setting | found

    return kept_of_training(directory, make)


def collapsed(traced: Traced) -> bool:
    """It ends worse than it began, or before its last step."""
    return len(traced["reward"]) < STEPS or _last(traced["reward"]) < _FALLEN * traced["start"]


def _last(numbers: list[float]) -> float:
    """The mean of the last steps; NaN where there was not one."""
    return fmean(numbers[-WINDOW:]) if numbers else math.nan


def stopped_at(traced: Traced, *, max_kl: float, reward_share: float) -> int | None:
    """The step at which a guard would have stopped the training; None if it would not have."""
    least = reward_share * traced["start"]
    guard = Guard(window=WINDOW, max_kl=max_kl, min_reward=least, min_length_share=0.1)
    names = ("reward", "kl", "response_length")
    for step, numbers in enumerate(zip(*(traced[name] for name in names), strict=True), 1):
        try:
            guard.observe(dict(zip(names, numbers, strict=True)) | {"step": step})
        except PolicyCollapse:
            return step
    return None


def table_of(traces: list[Traced]) -> str:
    """Markdown: every setting, then every guard."""
    start = fmean(one["start"] for one in traces)
    lines = [
        "# Stability of A*-PO",
        "",
        f"presets/embedded.yaml, {STEPS} steps of 256 prompts, {len(SEEDS)} seeds, no guard. Mean reward and "
        f"KL of the last {WINDOW} steps, over the seeds; stage 1's mean reward on the same prompts is "
        f"{start:.3f}. A training that ends below {_FALLEN:g} of its own, or before its last step, has "
        "collapsed.",
        "",
        f"| learning rate | updates a batch | {' | '.join(BASELINES)} |",
        f"|---|---|{'---|' * len(BASELINES)}",
    ]
    for rate, updates in _settings(traces):
        cells = [_ending(_of(traces, rate, updates, baseline)) for baseline in BASELINES]
        lines.append(f"| {rate:g} | {updates} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_guards(traces)]) + "\n"


def _settings(traces: list[Traced]) -> list[tuple[float, int]]:
    """Learning rates and updates a batch, each pair once."""
    return list(dict.fromkeys((one["rate"], one["updates"]) for one in traces))


def _of(traces: list[Traced], rate: float, updates: int, baseline: str) -> list[Traced]:
    """The trainings of a setting, one a seed."""
    wanted = (rate, updates, baseline)
    return [one for one in traces if (one["rate"], one["updates"], one["baseline"]) == wanted]


def _guards(traces: list[Traced]) -> list[str]:
    """What guards would have done, the present one's window and length rule in all of them."""
    fallen = [one for one in traces if collapsed(one)]
    standing = [one for one in traces if not collapsed(one)]
    lines = [
        f"Guards over {WINDOW} steps: how many of {len(fallen)} collapses each sees, and at which steps; and "
        f"how many of the other {len(standing)} trainings it stops.",
        "",
        "| max_kl | min_reward_share | collapses seen | at steps | others stopped |",
        "|---|---|---|---|---|",
    ]
    for max_kl in MAX_KLS:
        for share in REWARD_SHARES:
            stop = partial(stopped_at, max_kl=max_kl, reward_share=share)
            seen = [step for one in fallen if (step := stop(one)) is not None]
            wrong = sum(stop(one) is not None for one in standing)
            steps = ", ".join(map(str, sorted(seen)))
            lines.append(f"| {max_kl:g} | {share:g} | {len(seen)} | {steps} | {wrong} |")
    return lines


def _ending(traces: list[Traced]) -> str:
    """Of one setting."""
    fallen = sum(map(collapsed, traces))
    reward, kl = (fmean(_last(one[name]) for one in traces) for name in ("reward", "kl"))
    text = f"{reward:.3f}, KL {kl:.3g}"
    return f"**{text}, {fallen} of {len(traces)} collapsed**" if fallen else text


def draw(traces: list[Traced], file: Path) -> None:
    """Rewards over the steps, one panel a learning rate and number of updates, one line a seed."""
    settings = _settings(traces)
    figure = Figure(figsize=(3.4 * len(settings), 3.2), layout="constrained")
    for axis, (rate, updates) in zip(figure.subplots(1, len(settings), sharey=True), settings, strict=True):
        for number, baseline in enumerate(BASELINES):
            for seed, one in enumerate(_of(traces, rate, updates, baseline)):
                axis.plot(
                    range(1, len(one["reward"]) + 1),
                    one["reward"],
                    color=f"C{number}",
                    linewidth=0.9,
                    label=None if seed else baseline,
                )
        axis.axhline(fmean(one["start"] for one in traces), color="#8a8f98", linewidth=0.8, linestyle="--")
        axis.set(title=f"rate {rate:g}, {updates} update(s) a batch", xlabel="step", ylim=(0, 1))
    figure.axes[0].set_ylabel("mean reward")
    figure.axes[0].legend(frameon=False)
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


if __name__ == "__main__":
    main()
