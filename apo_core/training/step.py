"""One step: draw, score, and learn from it."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import fmean

from apo_core.errors import VerifierFailed
from apo_core.training.batch import Row, draw, score
from apo_core.training.context import Stage2
from apo_core.training.metrics import StepMetrics
from apo_core.training.ranks import gather, share
from apo_core.training.update import learn
from apo_core.verifiers import RowError


def run_step(stage: Stage2, step: int, indices: list[int]) -> StepMetrics:
    """Train on fresh responses to the prompts at `indices`, every rank on its share of them.

    How many responses and how many optimizer updates, the algorithm says.

    Args:
        stage: the parts.
        step: counted from 0; decides the sampling noise.
        indices: B positions in the training set, the same on every rank; B is a multiple of the ranks times
            the algorithm's minibatches.

    Returns:
        The step's metrics over all ranks, `step` counted from 1; where the policy is held against nothing
        there is no `kl` among them, `verifier_errors` only if there are any. Responses that the verifier
        failed on are no part of the loss, of reward and advantage.

    Raises:
        VerifierFailed: on no matter which ranks, it failed on too many responses.
        PolicyCollapse: the loss or a gradient is not finite on some rank; the update was not applied.
    """
    started = time.perf_counter()
    if stage.lagging is not None and step % (stage.algorithm.sync_every or 1) == 0:
        stage.lagging.synchronise()
    own = share(list(enumerate(indices)))
    responses = draw(stage, step, own)
    stage.spare_memory()
    rows = score(stage, [index for _, index in own for _ in range(stage.algorithm.responses)], responses)
    sampled = time.perf_counter()
    norm = learn(stage, step, rows)
    ended = time.perf_counter()
    rows = gather([replace(row, prompt=[]) for row in rows])
    _refuse_errors(stage, step, rows)
    return _metrics(rows, step) | {
        "gradient_norm": norm,
        "tokens_per_second": _tokens(rows) / (ended - started),
        "sampling_seconds": sampled - started,
        "update_seconds": ended - sampled,
    }


def _refuse_errors(stage: Stage2, step: int, rows: list[Row]) -> None:
    errors = [RowError(f"step {step + 1}, {row.prompt_id}", row.reason) for row in rows if row.reward is None]
    stage.errors.spend(errors)
    if len(errors) == len(rows):
        raise VerifierFailed(f"{errors[0].row} and all others of its step: {errors[0].reason}")


def _metrics(rows: list[Row], step: int) -> StepMetrics:
    """Means over the responses of all ranks."""
    scored = [(row.reward, row.value) for row in rows if row.reward is not None]
    errors = len(rows) - len(scored)
    return {
        "step": step + 1,
        "reward": fmean(reward for reward, _ in scored),
        "value": fmean(row.value for row in rows),
        "advantage": fmean(reward - value for reward, value in scored),
        **({"verifier_errors": errors} if errors else {}),
        **{name: fmean(row.parts[name] for row in rows) for name in rows[0].parts},
        "response_length": _tokens(rows) / len(rows),
        "truncated": fmean(row.response.finish_reason == "length" for row in rows),
    }


def _tokens(rows: list[Row]) -> int:
    return sum(len(row.response.token_ids) for row in rows)
