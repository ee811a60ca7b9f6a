"""One training step: sample responses, score them, learn from them."""

from __future__ import annotations

import time

from apo_core.errors import VerifierFailed
from apo_core.sampling import Response
from apo_core.training.context import RolloutBatch, TrainingContext
from apo_core.training.metrics import StepMetrics
from apo_core.training.ranks import gather, share
from apo_core.training.step_metrics import step_metrics
from apo_core.training.update import learn
from apo_core.verifiers import RowError, attempt_at


def run_step(context: TrainingContext, step: int, indices: list[int]) -> StepMetrics:
    """Train on fresh responses to the prompts at `indices`, every rank on its share of them.

    Args:
        context: what to train with; its algorithm decides the numbers of responses and of optimizer updates.
        step: counted from 0; decides the sampling noise.
        indices: B positions in the training set, the same on every rank; B is a multiple of the ranks times
            the algorithm's minibatches.

    Returns:
        The step's metrics over all ranks, `step` counted from 1. There is no `kl` among them where the
        algorithm uses no reference, and `verifier_errors` only if there are any. Responses that the verifier
        failed on are no part of the loss, of reward and advantage.

    Raises:
        VerifierFailed: the verifier failed on too many responses, no matter on which ranks.
        PolicyCollapse: the loss or a gradient is not finite on some rank; the update was not applied.
    """
    started = time.perf_counter()
    if context.lagging is not None and step % (context.algorithm.sync_every or 1) == 0:
        context.lagging.synchronise()
    own = share(list(enumerate(indices)))
    responses = sample_responses(context, step, own)
    context.spare_memory()
    rollouts = score_responses(context, [index for _, index in own], responses)
    sampled = time.perf_counter()
    norm, loss_metrics = learn(context, step, rollouts)
    ended = time.perf_counter()
    _refuse_errors(context, step, rollouts)
    metrics, tokens = step_metrics(step, rollouts, loss_metrics)
    return metrics | {
        "gradient_norm": norm,
        "tokens_per_second": tokens / (ended - started),
        "sampling_seconds": sampled - started,
        "update_seconds": ended - sampled,
    }


def sample_responses(context: TrainingContext, step: int, own: list[tuple[int, int]]) -> list[Response]:
    """Sample the algorithm's number of responses to each prompt, those to one prompt in a row.

    Args:
        context: sampler, training set and limits.
        step: counted from 0.
        own: (position in the batch, index in the training set) of this rank's prompts.
    """
    prompts, count = context.prompts, context.algorithm.responses
    # The position is in the key because a batch may hold a prompt twice (batch larger than the set).
    prefix = f"train/{context.seed}/{step}"
    names = [f"{prefix}/{position}/{prompts.questions[index].prompt_id}" for position, index in own]
    return context.sampler.generate(
        [prompts.token_ids[index] for _, index in own for _ in range(count)],
        [f"{name}/{number}" if number else name for name in names for number in range(count)],
        max_new_tokens=context.max_new_tokens,
        temperature=context.temperature,
    )


def score_responses(context: TrainingContext, own: list[int], responses: list[Response]) -> RolloutBatch:
    """Have the verifier reward responses.

    Args:
        context: template, scorer and training set.
        own: indices in the training set of this rank's prompts.
        responses: to those prompts, as many to each.
    """
    prompts = context.prompts
    indices = [index for index in own for _ in range(context.algorithm.responses)]
    texts = [context.template.decode(response.token_ids) for response in responses]
    attempts = [
        attempt_at(prompts.questions[index], text, len(response.token_ids), context.max_new_tokens)
        for text, response, index in zip(texts, responses, indices, strict=True)
    ]
    verdicts = context.scorer.score(attempts)
    return RolloutBatch(
        prompt_ids=[prompts.questions[index].prompt_id for index in indices],
        prompts=[prompts.token_ids[index] for index in indices],
        responses=responses,
        rewards=[verdict.reward for verdict in verdicts],
        reasons=[verdict.reason for verdict in verdicts],
        parts=[verdict.parts for verdict in verdicts],
        v_star=[prompts.v_star[index] for index in indices],
    )


def _refuse_errors(context: TrainingContext, step: int, rollouts: RolloutBatch) -> None:
    """Stop where the verifier failed on too many responses of all ranks."""
    rows = gather(list(zip(rollouts.prompt_ids, rollouts.rewards, rollouts.reasons, strict=True)))
    errors = [RowError(f"step {step + 1}, {name}", reason) for name, reward, reason in rows if reward is None]
    context.errors.spend(errors)
    if len(errors) == len(rows):
        raise VerifierFailed(f"{errors[0].row} and all others of its step: {errors[0].reason}")
