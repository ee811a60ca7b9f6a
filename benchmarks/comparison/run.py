"""A training that is compared: time, memory, generations, and accuracy all along."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from apo_core.algorithms import make_algorithm
from apo_core.config.file import load_params
from apo_core.files import read_json, write_json
from apo_core.tables import SAMPLES, read_table
from benchmarks.comparison.accuracy import accuracies
from benchmarks.comparison.arena import stage1_peak_rss_mib, stage1_seconds
from benchmarks.comparison.figures import Run
from benchmarks.comparison.space import learns_from_values
from benchmarks.comparison.trial import Trial, run_trial
from tasks.workspace import Workspace

POINTS = 16  # of a curve, beside its start


def run(
    arena: Workspace, directory: Path, name: str, settings: list[str], *, prompts: int, threads: int
) -> Run:
    """Train on so many prompts, counted as often as they are met, and measure all along.

    The result stays in a file beside the directory, and is not made again while that is there.
    """
    kept = directory.with_name(f"{directory.name}.json")
    if kept.exists():
        known: Run = read_json(kept)
        return known
    steps = math.ceil(prompts / prompts_per_step(settings))
    every = max(1, steps // POINTS)
    trial = run_trial(
        arena,
        directory,
        settings,
        steps=steps,
        checkpoint_every=every,
        keep=steps // every + 1,
        seconds=None,
        threads=threads,
    )
    measured = [reference_of(arena, threads), *accuracies(trial.place, threads=threads)]
    described = _described(arena, trial, name, settings, measured)
    write_json(kept, described)
    shutil.rmtree(directory)
    last = described["curve"][-1]
    print(
        f"{directory.name}: {last['sampled']:.3f} after {last['seconds']:.0f} s"
        + (f"; {trial.collapsed}" if trial.collapsed else ""),
        flush=True,
    )
    return described


def reference_of(arena: Workspace, threads: int) -> dict[str, Any]:
    """Where all curves of an arena begin; asked once."""
    kept = arena.root / "reference.json"
    if not kept.exists():
        (found,) = accuracies(arena, "--reference", threads=threads)
        write_json(kept, found)
    measured: dict[str, Any] = read_json(kept)
    return measured


def prompts_per_step(settings: list[str]) -> int:
    """Prompts a step: the last setting of it counts."""
    (*_, last) = (setting for setting in settings if setting.startswith("train.batch_size="))
    return int(last.partition("=")[2])


def _described(
    arena: Workspace, trial: Trial, name: str, settings: list[str], measured: list[dict[str, Any]]
) -> Run:
    """Everything that is known of a run."""
    params = load_params(trial.place.params)
    responses = make_algorithm(**params.algorithm.model_dump()).responses
    drawn = params.train.batch_size * responses  # a step
    # Stage 1 is A*-PO's: that the others' prompts were selected by it costs them nothing here.
    of_values = learns_from_values(name)
    before = stage1_seconds(arena) if of_values else 0.0
    memory = [trial.peak_rss_mib, *([stage1_peak_rss_mib(arena)] if of_values else [])]
    samples = read_table(arena.samples, SAMPLES)["token_ids"].tolist() if of_values else []
    ends = [0.0, *trial.seconds]
    return {
        "algorithm": name,
        "seed": params.seed,
        "settings": settings,
        "prompts_per_step": params.train.batch_size,
        "responses_per_prompt": responses,
        "stage1_seconds": before,
        "peak_rss_mib": max(memory),
        "collapsed": trial.collapsed,
        "response_tokens": sum(map(len, samples)) + sum(row["response_length"] * drawn for row in trial.rows),
        "curve": [
            point
            | {
                "seconds": before + ends[point["step"]],
                "prompts": point["step"] * params.train.batch_size,
                "generations": len(samples) + point["step"] * drawn,
            }
            for point in measured
        ],
        "steps": [
            {"reward": row["reward"], "kl": row.get("kl"), "seconds": seconds}
            for row, seconds in zip(trial.rows, trial.seconds, strict=True)
        ],
    }
