"""Compare all algorithms on one task, each tuned with the same budget of trials: `make compare`.

    python -m benchmarks.comparison [--workspace DIR] [--results DIR]

1. Trials on one seed find each algorithm's best overrides of params.yaml (`tune.py`, `search_space.py`).
2. With these each algorithm trains on other seeds, for as long as a trial; its checkpoints are evaluated on
   held-out prompts (`run.py`, `trial.py`, `accuracy.py`).
3. Each algorithm takes a few steps with a model of 135 million parameters (`at_size.py`).

Every training is a process of its own. Started again after an interruption, the comparison goes on where it
stopped. The results are written to `benchmarks/results/comparison.{md,json,png}` (`report.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from apo_core.config import Params
from apo_core.config.file import load_params
from apo_core.errors import ApoError
from apo_core.system.files import sha256_of, write_text
from benchmarks.comparison import search_space
from benchmarks.comparison.cache import cached_result
from benchmarks.comparison.curves import Run
from benchmarks.comparison.report import OURS, plot, table_of
from benchmarks.comparison.run import POINTS, reference_point, run
from benchmarks.comparison.tune import TrialResult, at_edge, best, tune
from benchmarks.comparison.workspaces import PRESET, make_base_workspace, make_seed_workspace
from benchmarks.processes import ROOT, ProcessFailed, run_module, threads_per_process
from tasks.lock import only_run
from tasks.responses.shards import open_work
from tasks.workspace import Workspace

TUNING_SEED = 100


def main() -> None:
    """Tune and compare the algorithms, measure them at 135M, and write report, picture and all figures."""
    arguments = _arguments()
    file = arguments.workspace / "params.yaml" if arguments.workspace.is_dir() else arguments.workspace
    try:
        params = load_params(file)
        _check_arguments(arguments, params, file)
        with only_run(Workspace(arguments.work)):
            _compare(arguments, params, file)
    except (ApoError, ProcessFailed) as error:
        raise SystemExit(f"error: {error}") from None
    shutil.rmtree(arguments.work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--workspace",
        type=Path,
        default=PRESET,
        help="workspace, or the configuration file of a task that needs no data",
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "data/unfinished/comparison",
        help="new directory for unfinished work",
    )
    parser.add_argument(
        "--algorithms", nargs="+", choices=list(search_space.START), default=list(search_space.START)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[11, 12, 13, 14, 15])
    parser.add_argument("--seconds", type=float, default=45.0, help="training time of a trial or run")
    parser.add_argument(
        "--parallel", type=int, default=1, help="number of trainings at a time, which share the cores"
    )
    return parser.parse_args()


def _check_arguments(arguments: argparse.Namespace, params: Params, file: Path) -> None:
    """Refuse now what would fail, or mislead, after an hour.

    Raises:
        ApoError: An argument or the configuration does not suit a comparison.
    """
    train = params.train
    for wrong, message in (
        (
            OURS not in arguments.algorithms,
            f"--algorithms: {OURS} is missing; the others are compared with it",
        ),
        (TUNING_SEED in arguments.seeds, f"--seeds: {TUNING_SEED} is the seed that algorithms are tuned on"),
        (len({*arguments.seeds}) < len(arguments.seeds), "--seeds: a seed is named twice"),
        (
            len({*arguments.algorithms}) < len(arguments.algorithms),
            "--algorithms: an algorithm is named twice",
        ),
        (train.lora is not None, f"{file}: train.lora: expected null, the comparison trains full weights"),
        (
            train.ranks > 1 or train.zero_stage > 0,
            f"{file}: train: expected ranks 1 and zero_stage 0, found {train.ranks} and {train.zero_stage}",
        ),
        (
            _has_foreign_files(arguments.work),
            f"--work: {arguments.work} holds files that are not a comparison's",
        ),
    ):
        if wrong:
            raise ApoError(message)


def _has_foreign_files(work: Path) -> bool:
    return work.exists() and bool({entry.name for entry in work.iterdir()} - {"kept", ".apo"})


def _compare(arguments: argparse.Namespace, params: Params, file: Path) -> None:
    threads = threads_per_process(arguments.parallel)
    conditions = _conditions(arguments, params, file) | {"threads": threads}
    work = open_work(arguments.work / "kept", conditions)
    base = make_base_workspace(arguments.workspace, work / "base", threads)
    with ThreadPoolExecutor(arguments.parallel) as pool:
        seeds = [TUNING_SEED, *arguments.seeds]
        futures = [
            pool.submit(make_seed_workspace, base, seed, work / f"seed-{seed}", threads) for seed in seeds
        ]
        tuning, *seed_workspaces = (future.result() for future in futures)
        list(pool.map(partial(reference_point, threads=threads), seed_workspaces))
        seconds, names = arguments.seconds, arguments.algorithms
        trials = tune(tuning, work / "trials", names, pool, seconds=seconds, threads=threads)
        chosen = {name: best(trials, name) for name in names}
        runs = _run_all(work / "runs", seed_workspaces, chosen, pool, seconds=seconds, threads=threads)
    sizes = {
        name: _at_size(work / f"{name}-at-size.json", name, trial["settings"])
        for name, trial in chosen.items()
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    everything = {"trials": trials, "runs": runs, "at_size": sizes, "threads": threads}
    everything |= {"parallel": arguments.parallel, "seconds": seconds}
    write_text(arguments.results / "comparison.json", json.dumps(everything) + "\n")
    table = table_of(runs, sizes, about=_about(arguments, params, file, trials, threads))
    write_text(arguments.results / "comparison.md", table)
    plot(runs, sizes, arguments.results / "comparison.png")
    print(table)


def _conditions(arguments: argparse.Namespace, params: Params, file: Path) -> dict[str, Any]:
    """Everything that decides a result; unfinished work under other conditions is not continued."""
    options = {name: getattr(arguments, name) for name in ("algorithms", "seeds", "seconds", "parallel")}
    inputs = [file.parent / "data/reference", file.parent / "data/raw"]
    return options | {
        "params": params.model_dump(mode="json"),
        "files": {str(path.resolve()): sha256_of(path) for path in inputs if path.exists()},
        "tuning_seed": TUNING_SEED,
        "points": POINTS,
        "space": [search_space.START, list(search_space.RATES), search_space.CHANGES],
    }


def _run_all(
    directory: Path,
    seed_workspaces: list[Workspace],
    chosen: dict[str, TrialResult],
    pool: Executor,
    *,
    seconds: float,
    threads: int,
) -> list[Run]:
    """Run every algorithm on every seed, in another order per seed, so that neighbours in time vary."""
    jobs = [
        (seed_workspace, name)
        for turn, seed_workspace in enumerate(seed_workspaces)
        for name in random.Random(turn).sample(list(chosen), len(chosen))
    ]

    def run_job(job: tuple[Workspace, str]) -> Run:
        seed_workspace, name = job
        trial = chosen[name]
        return run(
            seed_workspace,
            directory / f"{name}-{seed_workspace.root.name}",
            name,
            trial["settings"],
            seconds=seconds,
            checkpoint_every=max(1, trial["steps"] // POINTS),  # a run takes about as many steps as its trial
            threads=threads,
        )

    return list(pool.map(run_job, jobs))


def _at_size(file: Path, name: str, overrides: list[str]) -> dict[str, Any]:
    """Measure an algorithm with its own overrides by `at_size.py`."""

    def measure() -> dict[str, Any]:
        flags = [f"--set={override}" for override in search_space.algorithm_overrides(overrides)]
        threads = threads_per_process(processes=1)
        measurement: dict[str, Any] = run_module("benchmarks.comparison.at_size", *flags, threads=threads)
        print(f"at size: {name}: {measurement}", flush=True)
        return measurement

    return cached_result(file, measure)


def _about(
    arguments: argparse.Namespace, params: Params, file: Path, trials: list[TrialResult], threads: int
) -> list[str]:
    """Two paragraphs on how the comparison was done, for the head of the report."""
    names = arguments.algorithms
    chosen = {name: best(trials, name) for name in names}
    overrides = "; ".join(
        f"`{' '.join(search_space.effective_overrides(chosen[name]['settings']))}`" for name in names
    )
    edges = [name for name in names if at_edge(trials, name)]
    collapsed = [name for name in names if chosen[name]["collapsed"]]
    by_seed = "" if params.data.source == "files" and params.data.split != "seed" else "prompts, "
    return [
        f"{file.name}, {len(arguments.seeds)} seeds. A seed decides {by_seed}stage 1, the order of prompts "
        "and the responses. The reference policy is the same for all seeds, so the intervals (95%, over "
        "seeds) do not cover the choice of another one. Runs that collapsed are counted, but enter no mean. "
        f"{arguments.parallel} training(s) at a time, each with {threads} thread(s). Time is sampling, "
        "verifying and updating, without loading and checkpoints; A*-PO's time includes stage 1 with its "
        "loading and checks. The other algorithms train on the prompts that stage 1 selected, too; its time "
        "is not added to theirs.",
        f"The settings of each algorithm are the best of {len(trials) // len(names)} trials. A trial trains "
        f"for {arguments.seconds:g} s on seed {TUNING_SEED} and is judged by the mean reward of the "
        f"policy's responses over that time; trials that collapsed rank last. The settings: {overrides}. "
        "All that was tried is in `benchmarks/comparison/search_space.py`: A*-PO once as published, with one "
        "update per batch, and once with the options of this library; the stability study decided which "
        "options were worth a trial."
        + (f" At the edge of the learning rates that were tried: {', '.join(edges)}." if edges else "")
        + (f" All trials collapsed: {', '.join(collapsed)}." if collapsed else ""),
    ]


if __name__ == "__main__":
    main()
