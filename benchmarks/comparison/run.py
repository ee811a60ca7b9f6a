"""One run of the comparison: a training with its time, memory, generations and learning curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apo_core.algorithms import make_algorithm
from apo_core.config.file import load_params
from apo_core.tables import SAMPLES, read_table
from benchmarks.comparison.accuracy import accuracies
from benchmarks.comparison.cache import cached_result, cached_training
from benchmarks.comparison.curves import Run
from benchmarks.comparison.search_space import uses_v_star
from benchmarks.comparison.trial import MANY, Trial, run_trial
from benchmarks.comparison.workspaces import stage1_peak_rss_mib
from benchmarks.processes import ProcessFailed
from tasks.workspace import Workspace

POINTS = 12  # checkpoints per run, about: the points of its curve after the first


def run(
    seed_workspace: Workspace,
    directory: Path,
    name: str,
    overrides: list[str],
    *,
    seconds: float,
    checkpoint_every: int,
    threads: int,
) -> Run:
    """Train an algorithm for `seconds`, stage 1 included, and evaluate all its checkpoints.

    The result is cached in a file beside the directory.
    """

    def train() -> Run:
        trial = run_trial(
            seed_workspace,
            directory,
            overrides,
            steps=MANY,
            checkpoint_every=checkpoint_every,
            keep=MANY,
            seconds=seconds,
            threads=threads,
        )
        points = accuracies(trial.workspace, threads=threads)
        if not points and trial.collapsed is None:
            raise ProcessFailed(f"{directory}: no checkpoint within {seconds:g} s; raise --seconds")
        result = _describe(trial, name, overrides, [reference_point(seed_workspace, threads), *points])
        last = result["curve"][-1]
        print(f"{directory.name}: {last['sampled']:.3f}; {trial.collapsed or 'not collapsed'}", flush=True)
        return result

    return cached_training(directory, train)


def reference_point(seed_workspace: Workspace, threads: int) -> dict[str, Any]:
    """First point of all curves of a seed: the reference policy's accuracy.

    It is measured before the seed's runs start, which go on side by side.
    """

    def measure() -> dict[str, Any]:
        (accuracy,) = accuracies(seed_workspace, "--reference", threads=threads)
        return accuracy

    return cached_result(seed_workspace.root / "reference.json", measure)


def _describe(trial: Trial, name: str, overrides: list[str], points: list[dict[str, Any]]) -> Run:
    """Record of a run for the report and for `comparison.json`."""
    workspace = trial.workspace
    params = load_params(workspace.params)
    responses = make_algorithm(**params.algorithm.model_dump()).responses
    responses_per_step = params.train.batch_size * responses
    with_stage1 = uses_v_star(overrides)
    memory = [trial.peak_rss_mib, *([stage1_peak_rss_mib(workspace)] if with_stage1 else [])]
    samples = read_table(workspace.samples, SAMPLES)["token_ids"].tolist() if with_stage1 else []
    return {
        "algorithm": name,
        "seed": params.seed,
        "settings": overrides,
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
                "generations": len(samples) + point["step"] * responses_per_step,
                "response_tokens": sum(map(len, samples))
                + sum(row["response_length"] * responses_per_step for row in trial.rows[: point["step"]]),
            }
            for point in points
        ],
        "steps": [
            {"reward": row["reward"], "kl": row.get("kl"), "seconds": seconds}
            for row, seconds in zip(trial.rows, trial.seconds[1:], strict=True)
        ],
    }
