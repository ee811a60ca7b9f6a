"""At which learning rates and baselines A*-PO collapses, and at which step a guard would stop it.

    python -m benchmarks.comparison.stability [--parallel N]

Trains on the embedded task without a guard, over learning rates, updates per batch and baselines, which are
V* of several beta1. The metrics of these trainings then say what any guard would have done: the step at which
it stops a training that collapses, and how many it stops that do not. Started again after
an interruption, the study goes on where it stopped. Writes `benchmarks/results/stability.{md,json,png}`.
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
from apo_core.tables import read_metadata
from apo_core.training.guard import Guard
from benchmarks.comparison.cache import cached_training
from benchmarks.comparison.trial import run_trial
from benchmarks.comparison.workspaces import PRESET, make_base_workspace, make_seed_workspace
from benchmarks.processes import ROOT, threads_per_process
from tasks.lock import only_run
from tasks.responses.shards import open_work
from tasks.workspace import Workspace

_WORK = ROOT / "data/unfinished/stability"
SEEDS, STEPS, WINDOW = (101, 102), 48, 5
_PROMPTS_PER_STEP = 256  # of the preset
_COLLAPSED_SHARE = 0.9  # of the initial reward: noise alone does not lower the reward this far
RATES, UPDATES = (1e-4, 4e-4, 1e-3), (1, 2, 4)
BASELINES = {
    "beta1 0.1": ["values.beta1=0.1"],
    "beta1 0.5": ["values.beta1=0.5"],
    "beta1 5": ["values.beta1=5.0"],
}
NO_GUARD = [
    "train.guard.max_kl=1000000000.0",
    "train.guard.min_reward_share=0.0",
    "train.guard.min_length_share=0.0",
]
MAX_KLS, REWARD_SHARES = (5.0, 10.0, 20.0, 50.0, 100.0), (0.25, 0.5, 0.75)
# One training: `seed`, `rate`, `baseline`, `updates` (per batch), `start` (stage 1's mean reward on the
# training prompts), and lists of `reward`, `kl` and `response_length`, one number per step.
Trace = dict[str, Any]


def main() -> None:
    """Run the trainings, and write report, picture and all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--parallel", type=int, default=1, help="number of trainings at a time, which share the cores"
    )
    arguments = parser.parse_args()
    threads = threads_per_process(arguments.parallel)
    conditions = {"params": PRESET.read_text("utf-8"), "steps": STEPS, "seeds": list(SEEDS)}
    conditions |= {"baselines": BASELINES, "guard": NO_GUARD}
    with only_run(Workspace(_WORK)), ThreadPoolExecutor(arguments.parallel) as pool:
        work = open_work(_WORK / "kept", conditions)
        base = make_base_workspace(PRESET, work / "base", threads)
        seed_workspaces = list(
            pool.map(lambda seed: make_seed_workspace(base, seed, work / f"seed-{seed}", threads), SEEDS)
        )
        cases = [(rate, baseline, 1) for rate in RATES for baseline in BASELINES]
        cases += [(RATES[0], baseline, updates) for updates in UPDATES[1:] for baseline in BASELINES]
        jobs = [(seed_workspace, *case) for seed_workspace in seed_workspaces for case in cases]
        traces = list(pool.map(partial(run_case, work, threads), *zip(*jobs, strict=True)))
    results = ROOT / "benchmarks/results"
    write_text(results / "stability.json", json.dumps(traces) + "\n")
    text = table_of(traces)
    write_text(results / "stability.md", text)
    plot(traces, results / "stability.png")
    print(text)
    shutil.rmtree(_WORK)


def run_case(
    work: Path, threads: int, seed_workspace: Workspace, rate: float, baseline: str, updates: int
) -> Trace:
    """Train one case; its result is cached in a file beside its directory."""
    seed = load_params(seed_workspace.params).seed
    directory = work / f"{seed}, {rate}, {baseline}, {updates}"

    def train() -> Trace:
        overrides = [
            f"train.learning_rate={rate}",
            *BASELINES[baseline],
            f"algorithm.minibatches={updates}",
            *NO_GUARD,
        ]
        trial = run_trial(
            seed_workspace,
            directory,
            overrides,
            steps=STEPS,
            checkpoint_every=STEPS,
            keep=1,
            seconds=None,
            threads=threads,
        )
        metrics = {name: [row[name] for row in trial.rows] for name in ("reward", "kl", "response_length")}
        print(f"{directory.name}: {_last(metrics['reward']):.3f}", flush=True)
        start = float(read_metadata(seed_workspace.values)["expected_reward_limits"][1])
        case = {"seed": seed, "rate": rate, "baseline": baseline, "updates": updates, "start": start}
        return case | metrics

    return cached_training(directory, train)


def collapsed(trace: Trace) -> bool:
    """Whether a training ended worse than it began, or before its last step."""
    return len(trace["reward"]) < STEPS or _last(trace["reward"]) < _COLLAPSED_SHARE * trace["start"]


def _last(numbers: list[float]) -> float:
    """Mean over the last steps; NaN if there is no step."""
    return fmean(numbers[-WINDOW:]) if numbers else math.nan


def stopped_at(trace: Trace, *, max_kl: float, reward_share: float) -> int | None:
    """Step at which a guard would have stopped the training; None if it would not have."""
    guard = Guard(
        window=WINDOW,
        batch_size=_PROMPTS_PER_STEP,
        max_kl=max_kl,
        max_sampler_kl=math.inf,
        expected_reward=(trace["start"], trace["start"]),
        min_reward_share=reward_share,
        min_length_share=0.1,
    )
    names = ("reward", "kl", "response_length")
    for step, numbers in enumerate(zip(*(trace[name] for name in names), strict=True), 1):
        try:
            guard.observe(dict(zip(names, numbers, strict=True)) | {"step": step})
        except PolicyCollapse:
            return step
    return None


def table_of(traces: list[Trace]) -> str:
    """Markdown tables: one of all cases, one of all guards."""
    start = fmean(trace["start"] for trace in traces)
    lines = [
        "# Stability of A*-PO",
        "",
        f"presets/embedded.yaml, {STEPS} steps of 256 prompts, {len(SEEDS)} seeds, no guard. Mean reward and "
        f"KL are over the last {WINDOW} steps and all seeds; stage 1's mean reward on the same prompts is "
        f"{start:.3f}. A training counts as collapsed if it ends before its last step, or below "
        f"{_COLLAPSED_SHARE:g} of its own seed's stage-1 reward.",
        "",
        f"| learning rate | updates per batch | {' | '.join(BASELINES)} |",
        f"|---|---|{'---|' * len(BASELINES)}",
    ]
    for rate, updates in _rates_and_updates(traces):
        cells = [_ending(_traces_of(traces, rate, updates, baseline)) for baseline in BASELINES]
        lines.append(f"| {rate:g} | {updates} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_guard_table(traces)]) + "\n"


def _rates_and_updates(traces: list[Trace]) -> list[tuple[float, int]]:
    """Pairs of a learning rate and a number of updates per batch, each once."""
    return list(dict.fromkeys((trace["rate"], trace["updates"]) for trace in traces))


def _traces_of(traces: list[Trace], rate: float, updates: int, baseline: str) -> list[Trace]:
    """Trainings of a case, one per seed."""
    case = (rate, updates, baseline)
    return [trace for trace in traces if (trace["rate"], trace["updates"], trace["baseline"]) == case]


def _guard_table(traces: list[Trace]) -> list[str]:
    """What guards of several limits would have done; window and length rule are those of the presets."""
    fallen = [trace for trace in traces if collapsed(trace)]
    standing = [trace for trace in traces if not collapsed(trace)]
    lines = [
        f"Guards with a window of {WINDOW} steps: how many of the {len(fallen)} collapses each detects, at "
        f"which steps, and how many of the other {len(standing)} trainings it stops by mistake.",
        "",
        "| max_kl | min_reward_share | collapses detected | at steps | others stopped |",
        "|---|---|---|---|---|",
    ]
    for max_kl in MAX_KLS:
        for share in REWARD_SHARES:
            stop = partial(stopped_at, max_kl=max_kl, reward_share=share)
            detected = [step for trace in fallen if (step := stop(trace)) is not None]
            mistakes = sum(stop(trace) is not None for trace in standing)
            steps = ", ".join(map(str, sorted(detected)))
            lines.append(f"| {max_kl:g} | {share:g} | {len(detected)} | {steps} | {mistakes} |")
    return lines


def _ending(traces: list[Trace]) -> str:
    """Table cell of a case: reward and KL at the end, and how many seeds collapsed."""
    fallen = sum(map(collapsed, traces))
    reward, kl = (fmean(_last(trace[name]) for trace in traces) for name in ("reward", "kl"))
    text = f"{reward:.3f}, KL {kl:.3g}"
    return f"**{text}, {fallen} of {len(traces)} collapsed**" if fallen else text


def plot(traces: list[Trace], file: Path) -> None:
    """Plot rewards over the steps: a panel per learning rate and number of updates, a line per seed."""
    columns = _rates_and_updates(traces)
    figure = Figure(figsize=(3.4 * len(columns), 3.2), layout="constrained")
    for axis, (rate, updates) in zip(figure.subplots(1, len(columns), sharey=True), columns, strict=True):
        for number, baseline in enumerate(BASELINES):
            for seed, trace in enumerate(_traces_of(traces, rate, updates, baseline)):
                axis.plot(
                    range(1, len(trace["reward"]) + 1),
                    trace["reward"],
                    color=f"C{number}",
                    linewidth=0.9,
                    label=None if seed else baseline,
                )
        axis.axhline(
            fmean(trace["start"] for trace in traces), color="#8a8f98", linewidth=0.8, linestyle="--"
        )
        axis.set(title=f"rate {rate:g}, {updates} update(s) per batch", xlabel="step", ylim=(0, 1))
    figure.axes[0].set_ylabel("mean reward")
    figure.axes[0].legend(frameon=False)
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


if __name__ == "__main__":
    main()
