"""The training loop: resume, choose a batch, step, guard, checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean

import numpy as np

from apo_core.errors import PolicyCollapse
from apo_core.system.heap import trim_heap
from apo_core.system.progress import progress
from apo_core.training import ranks
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.context import TrainingContext
from apo_core.training.guard import Guard
from apo_core.training.metrics import append_metrics
from apo_core.training.step import run_step


def train(
    context: TrainingContext,
    *,
    steps: int,
    batch_size: int,
    checkpoint_every: int,
    checkpoints: Checkpoints,
    guard: Guard,
    metrics_file: Path,
) -> int:
    """Train up to `steps` steps, from the newest checkpoint where there is one.

    Args:
        context: what a step works with.
        steps: in all, those before a resume included.
        batch_size: prompts per step.
        checkpoint_every: steps between checkpoints; the last one is always followed by one.
        checkpoints: where they lie.
        guard: stops a collapse.
        metrics_file: gets one line per step.

    Returns:
        The step that was resumed from, 0 for a fresh run.

    Raises:
        PolicyCollapse: the guard or a non-finite value stopped the run; names the last good checkpoint.
        VerifierFailed: the verifier failed on too many responses of the last steps.
        DiskFull: a checkpoint does not fit.
    """
    first = checkpoints.restore_latest(context.engine, at_most=steps)
    log = ranks.first_only(lambda: checkpoints.restore_metrics(first, metrics_file))
    for metrics in log:
        guard.observe(metrics)
        context.errors.remember(int(metrics.get("verifier_errors", 0)))
    if first and ranks.rank() == 0:
        print(f"train: resumed at step {first} of {steps}", flush=True)
    description = "train" if ranks.rank() == 0 else None
    with progress(total=steps, initial=first, description=description, unit="step") as bar:
        for step in range(first, steps):
            indices = batch_at(
                step, count=len(context.prompts.questions), batch_size=batch_size, seed=context.seed
            )
            try:
                metrics = run_step(context, step, indices) | {"time": time.time()}
                if ranks.rank() == 0:
                    append_metrics(metrics_file, metrics)
                guard.observe(metrics)
            except PolicyCollapse as collapse:
                raise _with_last_good(collapse, checkpoints) from None
            log.append(metrics)
            if (step + 1) % checkpoint_every == 0 or step + 1 == steps:
                reward = fmean(row["reward"] for row in log[-checkpoint_every:])
                checkpoints.save(context.engine, step + 1, reward, log)
                trim_heap()  # what steps of other lengths have left in pieces
            divergence = f", KL {metrics['kl']:.2f}" if "kl" in metrics else ""
            bar.set_postfix_str(f"reward {metrics['reward']:.3f}{divergence}", refresh=False)
            bar.update()
    return first


def batch_at(step: int, *, count: int, batch_size: int, seed: int) -> list[int]:
    """Choose the prompts of one step: a pure function, so a resumed run needs no stored data order.

    The batches cut an endless row of permutations, one per epoch, so every batch is full and every prompt is
    seen once before any is seen again.

    Args:
        step: counted from 0.
        count: prompts in the training set.
        batch_size: prompts per step; may exceed `count`.
        seed: of the permutations.

    Returns:
        `batch_size` indices below `count`.
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    epochs = sorted({position // count for position in positions})
    permutations = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs}
    return [int(permutations[position // count][position % count]) for position in positions]


def _with_last_good(collapse: PolicyCollapse, checkpoints: Checkpoints) -> PolicyCollapse:
    saved = checkpoints.all()
    kept = f"the last good checkpoint is {saved[-1].directory}" if saved else "there is no checkpoint yet"
    return PolicyCollapse(f"{collapse}; {kept}")
