"""Every algorithm on one task, each with settings of its own from the same budget of trials: `make compare`.

    python -m benchmarks.comparison [--workspace DIR] [--results DIR]

Three things are done one after another: trials on one seed find settings for each algorithm; with these each
trains on other seeds, in a process of its own, on as many prompts as the others, and is measured all along;
and each takes a few steps at the size of 135 million parameters. Where it was interrupted it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from apo_core.config import DEFAULTS
from apo_core.config.file import load_params
from apo_core.files import write_text
from benchmarks.comparison.arena import make_arena, make_base
from benchmarks.comparison.report import draw, table_of
from benchmarks.comparison.run import Run, run
from benchmarks.comparison.tune import best, tune
from tasks.resume import open_work
from tasks.workspace import Workspace

ROOT = Path(__file__).parents[2]
PRESET = ROOT / "presets/embedded.yaml"
TUNING_SEED = 100


def main() -> None:
    """Tune, compare, measure at size, and write table, pictures and every number."""
    arguments = _arguments()
    params = arguments.workspace / "params.yaml" if arguments.workspace.is_dir() else arguments.workspace
    prompts = arguments.prompts or _prompts_of(params)
    asked = {name: getattr(arguments, name) for name in ("algorithms", "seeds", "trial_seconds", "parallel")}
    work = open_work(arguments.work, asked | {"prompts": prompts, "params": params.read_text("utf-8")})
    threads = max(1, (os.cpu_count() or 1) // arguments.parallel)
    base = make_base(arguments.workspace, work / "base", threads)
    tuning = make_arena(base, TUNING_SEED, work / "tuning", threads)
    arenas = [make_arena(base, seed, work / f"seed-{seed}", threads) for seed in arguments.seeds]
    with ThreadPoolExecutor(arguments.parallel) as pool:
        budget = arguments.trial_seconds
        trials = tune(tuning, work / "trials", arguments.algorithms, pool, seconds=budget, threads=threads)
        settings = {name: best(trials, name) for name in arguments.algorithms}
        runs = _compare(work / "runs", arenas, settings, pool, prompts=prompts, threads=threads)
    sizes = {name: _at_size(name, own) for name, own in settings.items()}
    about = (
        f"{params.name}: {len(arenas)} seeds, {prompts:,} prompts each, counted as often as they are met; "
        f"{arguments.parallel} training(s) at a time, with {threads} thread(s). Settings are the best of "
        f"{len(trials) // len(settings)} trials of {budget:g} s an algorithm, on another seed: "
        + "; ".join(f"`{' '.join(own)}`" for own in settings.values())
        + ". Time is drawing, verifying and updating, A*-PO's stage 1 included. "
        "Behind the sign ±: half of the 95% interval over seeds."
    )
    arguments.results.mkdir(parents=True, exist_ok=True)
    everything = {"trials": trials, "runs": runs, "at_size": sizes}
    write_text(arguments.results / "comparison.json", json.dumps(everything) + "\n")
    table = table_of(runs, sizes, about=about)
    write_text(arguments.results / "comparison.md", table)
    draw(runs, sizes, arguments.results / "comparison.png")
    print(table)
    shutil.rmtree(work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--workspace",
        type=Path,
        default=ROOT / "presets/embedded.yaml",
        help="or a configuration of the embedded task",
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--work", type=Path, default=ROOT / "data/unfinished/comparison")
    parser.add_argument("--algorithms", nargs="+", choices=list(DEFAULTS), default=list(DEFAULTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument(
        "--prompts", type=int, help="of a training; by default what the configuration trains on"
    )
    parser.add_argument("--trial-seconds", type=float, default=60.0)
    parser.add_argument("--parallel", type=int, default=1, help="trainings at a time, which share the cores")
    return parser.parse_args()


def _prompts_of(file: Path) -> int:
    train = load_params(file).train
    if train.steps is None:
        raise SystemExit(f"{file}: train.steps is null: say how many prompts to train on with --prompts")
    return train.steps * train.batch_size


def _compare(
    directory: Path,
    arenas: list[Workspace],
    settings: dict[str, list[str]],
    pool: Executor,
    *,
    prompts: int,
    threads: int,
) -> list[Run]:
    """All runs; each arena begins with another algorithm, so that none has always the same neighbour."""
    names = list(settings)
    jobs = [
        (arena, names[(place + turn) % len(names)])
        for turn, arena in enumerate(arenas)
        for place in range(len(names))
    ]

    def one(job: tuple[Workspace, str]) -> Run:
        arena, name = job
        place = directory / f"{name}-{arena.root.name}"
        return run(arena, place, name, settings[name], prompts=prompts, threads=threads)

    return list(pool.map(one, jobs))


def _at_size(name: str, settings: list[str]) -> dict[str, Any]:
    """What `at_size` prints of an algorithm with its own settings."""
    own = [word for setting in settings if setting.startswith("algorithm.") for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.comparison.at_size", "--algorithm", name, *own],
        cwd=ROOT,
        env=dict(os.environ) | {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} at size: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"at size: {name}: {found}", flush=True)
    return found


if __name__ == "__main__":
    main()
