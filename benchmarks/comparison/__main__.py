"""Every algorithm on one task, each with settings of its own from the same budget of trials: `make compare`.

    python -m benchmarks.comparison [--workspace DIR] [--results DIR]

Three things are done one after another: trials on one seed find settings for each algorithm; with these each
trains on other seeds, in a process of its own, for as long as a trial, and is measured all along; and each
takes a few steps at the size of 135 million parameters. Where it was interrupted it goes on.
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
from benchmarks.apart import ROOT, ProcessFailed, measured_apart, threads_of
from benchmarks.comparison import space
from benchmarks.comparison.arena import PRESET, make_arena, make_base
from benchmarks.comparison.figures import Run
from benchmarks.comparison.kept import kept
from benchmarks.comparison.report import OURS, draw, table_of
from benchmarks.comparison.run import POINTS, reference_of, run
from benchmarks.comparison.tune import Tried, at_edge, best, tune
from tasks.lock import only_run
from tasks.responses.shards import open_work
from tasks.workspace import Workspace

TUNING_SEED = 100


def main() -> None:
    """Tune, compare, measure at size, and write table, pictures and every number."""
    arguments = _arguments()
    file = arguments.workspace / "params.yaml" if arguments.workspace.is_dir() else arguments.workspace
    try:
        params = load_params(file)
        _refuse(arguments, params, file)
        with only_run(Workspace(arguments.work)):
            _compare(arguments, params, file)
    except (ApoError, ProcessFailed) as error:
        raise SystemExit(f"error: {error}") from None
    shutil.rmtree(arguments.work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--workspace", type=Path, default=PRESET, help="or a configuration that needs no data"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "data/unfinished/comparison", help="a new directory"
    )
    parser.add_argument("--algorithms", nargs="+", choices=list(space.START), default=list(space.START))
    parser.add_argument("--seeds", nargs="+", type=int, default=[11, 12, 13, 14, 15])
    parser.add_argument("--seconds", type=float, default=45.0, help="of training, of each trial and each run")
    parser.add_argument("--parallel", type=int, default=1, help="trainings at a time, which share the cores")
    return parser.parse_args()


def _refuse(arguments: argparse.Namespace, params: Params, file: Path) -> None:
    """What would fail, or mislead, after an hour.

    Raises:
        ApoError: says what.
    """
    train = params.train
    for wrong, why in (
        (OURS not in arguments.algorithms, f"--algorithms: {OURS} is what the others are compared with"),
        (TUNING_SEED in arguments.seeds, f"--seeds: {TUNING_SEED} is what settings are found on"),
        (len({*arguments.seeds}) < len(arguments.seeds), "--seeds: one is named twice"),
        (len({*arguments.algorithms}) < len(arguments.algorithms), "--algorithms: one is named twice"),
        (train.lora is not None, f"{file}: train.lora: algorithms are compared without adapters"),
        (
            train.ranks > 1 or train.zero_stage > 0,
            f"{file}: train: algorithms are compared on one rank, whole",
        ),
        (params.sampling.adaptive is not None, f"{file}: sampling.adaptive: beta1 is one of the trials"),
        (_foreign(arguments.work), f"--work: {arguments.work} holds other things"),
    ):
        if wrong:
            raise ApoError(why)


def _foreign(work: Path) -> bool:
    return work.exists() and bool({entry.name for entry in work.iterdir()} - {"kept", ".apo"})


def _compare(arguments: argparse.Namespace, params: Params, file: Path) -> None:
    threads = threads_of(arguments.parallel)
    conditions = _conditions(arguments, params, file) | {"threads": threads}
    work = open_work(arguments.work / "kept", conditions)
    base = make_base(arguments.workspace, work / "base", threads)
    with ThreadPoolExecutor(arguments.parallel) as pool:
        seeds = [TUNING_SEED, *arguments.seeds]
        made = [pool.submit(make_arena, base, seed, work / f"seed-{seed}", threads) for seed in seeds]
        tuning, *arenas = (future.result() for future in made)
        list(pool.map(partial(reference_of, threads=threads), arenas))
        seconds, names = arguments.seconds, arguments.algorithms
        trials = tune(tuning, work / "trials", names, pool, seconds=seconds, threads=threads)
        chosen = {name: best(trials, name) for name in names}
        runs = _run_all(work / "runs", arenas, chosen, pool, seconds=seconds, threads=threads)
    sizes = {
        name: _at_size(work / f"{name}-at-size.json", name, own["settings"]) for name, own in chosen.items()
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    everything = {"trials": trials, "runs": runs, "at_size": sizes, "threads": threads}
    everything |= {"parallel": arguments.parallel, "seconds": seconds}
    write_text(arguments.results / "comparison.json", json.dumps(everything) + "\n")
    table = table_of(runs, sizes, about=_about(arguments, params, file, trials, threads))
    write_text(arguments.results / "comparison.md", table)
    draw(runs, sizes, arguments.results / "comparison.png")
    print(table)


def _conditions(arguments: argparse.Namespace, params: Params, file: Path) -> dict[str, Any]:
    """Everything that decides a result: work that was done under others is not gone on with."""
    asked = {name: getattr(arguments, name) for name in ("algorithms", "seeds", "seconds", "parallel")}
    given = [file.parent / "data/reference", file.parent / "data/raw"]
    return asked | {
        "params": params.model_dump(mode="json"),
        "files": {str(path.resolve()): sha256_of(path) for path in given if path.exists()},
        "tuning_seed": TUNING_SEED,
        "points": POINTS,
        "space": [space.START, list(space.RATES), space.CHANGES],
    }


def _run_all(
    directory: Path,
    arenas: list[Workspace],
    chosen: dict[str, Tried],
    pool: Executor,
    *,
    seconds: float,
    threads: int,
) -> list[Run]:
    """All runs; in each arena in an order of its own, so that none has always the same neighbour."""
    jobs = [
        (arena, name)
        for turn, arena in enumerate(arenas)
        for name in random.Random(turn).sample(list(chosen), len(chosen))
    ]

    def one(job: tuple[Workspace, str]) -> Run:
        arena, name = job
        place, trial = directory / f"{name}-{arena.root.name}", chosen[name]
        every = max(1, trial["steps"] // POINTS)  # a run has about as many steps as its trial had
        own = trial["settings"]
        return run(arena, place, name, own, seconds=seconds, checkpoint_every=every, threads=threads)

    return list(pool.map(one, jobs))


def _at_size(file: Path, name: str, settings: list[str]) -> dict[str, Any]:
    """What `at_size` prints of an algorithm with its own settings."""

    def make() -> dict[str, Any]:
        own = [word for setting in space.of_algorithm(settings) for word in ("--set", setting)]
        threads = threads_of(parallel=1)
        found: dict[str, Any] = measured_apart("benchmarks.comparison.at_size", *own, threads=threads)
        print(f"at size: {name}: {found}", flush=True)
        return found

    return kept(file, make)


def _about(
    arguments: argparse.Namespace, params: Params, file: Path, trials: list[Tried], threads: int
) -> list[str]:
    """What was done, in words that a reader needs to judge the table."""
    names = arguments.algorithms
    chosen = {name: best(trials, name) for name in names}
    found = "; ".join(f"`{' '.join(space.in_force(chosen[name]['settings']))}`" for name in names)
    edges = [name for name in names if at_edge(trials, name)]
    fallen = [name for name in names if chosen[name]["collapsed"]]
    of_seed = "" if params.data.source == "files" and params.data.split != "seed" else "prompts, "
    return [
        f"{file.name}, {len(arguments.seeds)} seeds. A seed decides {of_seed}stage 1, order and responses; "
        "the reference is one for all, so intervals (95%, over seeds) do not cover another one. Runs that "
        f"collapsed are counted, and are in no mean. {arguments.parallel} training(s) at a time, each with "
        f"{threads} thread(s). Time is drawing, verifying and updating, without loading and checkpoints; "
        "A*-PO's begins with stage 1, that with its loading and checks. The others' prompts are selected by "
        "stage 1 too, which costs them nothing here.",
        f"Settings of each algorithm are the best of {len(trials) // len(names)} trials of "
        f"{arguments.seconds:g} s of training on seed {TUNING_SEED}, judged by the mean reward of the "
        f"policy's responses over that time, collapsed ones last: {found}. What is tried stands in "
        "`benchmarks/comparison/space.py`: A*-PO by its published method alone, with one update a batch, and "
        "with the options of this library, of which the study of stability has said what is worth a trial."
        + (f" At the edge of the learning rates that were tried: {', '.join(edges)}." if edges else "")
        + (f" All trials collapsed: {', '.join(fallen)}." if fallen else ""),
    ]


if __name__ == "__main__":
    main()
