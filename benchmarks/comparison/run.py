"""A training that is compared: time, memory, generations, and accuracy all along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apo_core.algorithms import make_algorithm
from apo_core.config.file import load_params
from apo_core.tables import SAMPLES, read_table
from benchmarks.apart import ProcessFailed
from benchmarks.comparison.accuracy import accuracies
from benchmarks.comparison.arena import stage1_peak_rss_mib
from benchmarks.comparison.figures import Run
from benchmarks.comparison.kept import kept, kept_of_training
from benchmarks.comparison.space import learns_from_values
from benchmarks.comparison.trial import MANY, Trial, run_trial
from tasks.workspace import Workspace

POINTS = 12  # of a curve, about, beside its start


def run(
    arena: Workspace,
    directory: Path,
    name: str,
    settings: list[str],
    *,
    seconds: float,
    checkpoint_every: int,
    threads: int,
) -> Run:
    """Train for so many seconds, stage 1 included, and measure all along.

    The result stays in a file beside the directory, and is not made again while that is there.
    """

    def make() -> Run:
        trial = run_trial(
            arena,
            directory,
            settings,
            steps=MANY,
            checkpoint_every=checkpoint_every,
            keep=MANY,
            seconds=seconds,
            threads=threads,
        )
        points = accuracies(trial.place, threads=threads)
        if not points and trial.collapsed is None:
            raise ProcessFailed(f"{directory}: not one checkpoint in {seconds:g} s: give runs more time")
        measured = [reference_of(arena, threads), *points]
        described = _described(trial, name, settings, measured)
        last = described["curve"][-1]
        print(f"{directory.name}: {last['sampled']:.3f}; {trial.collapsed or 'not collapsed'}", flush=True)
        return described

    return kept_of_training(directory, make)


def reference_of(arena: Workspace, threads: int) -> dict[str, Any]:
    """Where all curves of an arena begin; asked once, before runs that go on side by side."""

    def make() -> dict[str, Any]:
        (found,) = accuracies(arena, "--reference", threads=threads)
        return found

    return kept(arena.root / "reference.json", make)


def _described(trial: Trial, name: str, settings: list[str], measured: list[dict[str, Any]]) -> Run:
    """Everything that is known of a run."""
    place = trial.place
    params = load_params(place.params)
    responses = make_algorithm(**params.algorithm.model_dump()).responses
    drawn = params.train.batch_size * responses  # a step
    of_values = learns_from_values(settings)
    memory = [trial.peak_rss_mib, *([stage1_peak_rss_mib(place)] if of_values else [])]
    samples = read_table(place.samples, SAMPLES)["token_ids"].tolist() if of_values else []
    return {
        "algorithm": name,
        "seed": params.seed,
        "settings": settings,
        "prompts_per_step": params.train.batch_size,
        "responses_per_prompt": responses,
        "stage1_seconds": trial.stage1_seconds,
        "peak_rss_mib": max(memory),
        "collapsed": trial.collapsed,
        "curve": [
            point
            | {
                "seconds": trial.seconds[point["step"]],
                "prompts": point["step"] * params.train.batch_size,
                "generations": len(samples) + point["step"] * drawn,
                "response_tokens": sum(map(len, samples))
                + sum(row["response_length"] * drawn for row in trial.rows[: point["step"]]),
            }
            for point in measured
        ],
        "steps": [
            {"reward": row["reward"], "kl": row.get("kl"), "seconds": seconds}
            for row, seconds in zip(trial.rows, trial.seconds[1:], strict=True)
        ],
    }
