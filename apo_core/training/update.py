"""The optimizer updates of a step: micro-batches' gradients added up, and applied when finite."""

from __future__ import annotations

import math
from statistics import fmean

import torch
from torch import Tensor

from apo_core.algorithms.base import records_policy
from apo_core.errors import PolicyCollapse
from apo_core.model.micro_batch import MicroBatch, at_tokens, micro_batches, pad_responses
from apo_core.sampling import Response
from apo_core.training.context import RolloutBatch, TrainingContext
from apo_core.training.gradients import FiniteGradients, whole_norm
from apo_core.training.mismatch import importance_weights, log_ratios, mismatch_metrics, weigh_gradients
from apo_core.training.ranks import gather


def learn(
    context: TrainingContext, step: int, rollouts: RolloutBatch
) -> tuple[float, dict[str, list[float]]]:
    """Make the algorithm's updates.

    A minibatch is a run of the batch's prompts, so every rank has an equal share of each, and what is in it
    does not depend on how many ranks there are. A batch's prompts are in a random order already.

    Args:
        context: engine, algorithm and reference policy.
        step: counted from 0, for messages.
        rollouts: of this rank.

    Returns:
        The norm of the gradient before clipping, a mean over updates; and the loss metrics, R numbers each,
        means over epochs.

    Raises:
        PolicyCollapse: a loss or a gradient is not finite on some rank; that update was not applied.
    """
    algorithm = context.algorithm
    size = len(rollouts) // algorithm.minibatches
    minibatches = [
        _micro_batches(context, rollouts, range(start, start + size))
        for start in range(0, len(rollouts), size)
    ]
    batches = [batch for minibatch in minibatches for batch in minibatch]
    for batch in batches:
        _record(context, batch)
    _set_targets(context, rollouts, batches)
    totals: dict[str, Tensor] = {}  # (R,) each
    norms = []
    for _ in range(algorithm.epochs):
        for minibatch in minibatches:
            norms.append(_update(context, step, minibatch, totals, len(rollouts)))
    return fmean(norms), {name: (total / algorithm.epochs).tolist() for name, total in totals.items()}


def _micro_batches(context: TrainingContext, rollouts: RolloutBatch, rows: range) -> list[MicroBatch]:
    """Pad the responses of one update, in as many micro-batches on every rank."""
    together = context.algorithm.responses_per_loss
    lengths = [len(rollouts.responses[row].token_ids) for row in rows]
    whole = [len(rollouts.prompts[row]) + length for row, length in zip(rows, lengths, strict=True)]
    longest = [max(whole[start : start + together]) for start in range(0, len(whole), together)]
    budget = context.micro_batch_tokens // together
    count = max(gather([len(micro_batches(longest, max_tokens=budget))]))
    all_lengths = gather(lengths)
    batches = []
    for units in micro_batches(longest, max_tokens=budget, at_least=count):
        own = [rows[unit * together + number] for unit in units for number in range(together)]
        batch = pad_responses(
            [rollouts.prompts[row] for row in own],
            [rollouts.responses[row].token_ids for row in own],
            context.pad_id,
            context.engine.device,
        )
        batch.rows = own
        batch.scored = torch.tensor([rollouts.rewards[row] is not None for row in own]).to(batch.mask.device)
        batch.mean_length = sum(all_lengths) / len(all_lengths)
        batch.max_new_tokens = context.max_new_tokens
        batch.sampler_log_probs = _sampler_log_probs([rollouts.responses[row] for row in own], batch.mask)
        batches.append(batch)
    return batches


def _sampler_log_probs(responses: list[Response], mask: Tensor) -> Tensor | None:
    """(B, S), where the sampler keeps them."""
    kept = [response.log_probs for response in responses if response.log_probs is not None]
    return at_tokens(kept, mask) if kept else None


def _needs_old_log_probs(context: TrainingContext, batch: MicroBatch) -> bool:
    """Whether the algorithm uses them, or the sampler's are compared with them."""
    return context.algorithm.needs_old_log_probs or batch.sampler_log_probs is not None


@torch.no_grad()
def _record(context: TrainingContext, batch: MicroBatch) -> None:
    """Note what the algorithm uses of the reference policy, and of the policy before the first update."""
    algorithm = context.algorithm
    if context.reference is not None:
        batch.reference_log_probs = context.reference(*batch.inputs)
    if records_policy(algorithm) and _needs_old_log_probs(context, batch):
        batch.old_log_probs, batch.old_values = _forward(context, batch)


def _set_targets(context: TrainingContext, rollouts: RolloutBatch, batches: list[MicroBatch]) -> None:
    """Give every micro-batch its part of the algorithm's targets."""
    count = context.algorithm.responses
    rewards = torch.tensor([math.nan if reward is None else reward for reward in rollouts.rewards])
    v_star = torch.tensor(rollouts.v_star[::count])
    targets = context.algorithm.targets(rewards.view(-1, count), v_star, batches, gather)
    for index, batch in enumerate(batches):
        batch.targets = {
            name: numbers[index] if isinstance(numbers, list) else numbers[batch.rows].to(batch.mask.device)
            for name, numbers in targets.items()
        }


def _update(
    context: TrainingContext, step: int, batches: list[MicroBatch], totals: dict[str, Tensor], responses: int
) -> float:
    """Add up the gradients of one minibatch, apply their sum once, and return its norm."""
    engine = context.engine
    rows = sum(len(batch.rows) for batch in batches)
    engine.train()  # gradient checkpointing works in this mode only; there is no dropout to switch on
    with FiniteGradients(engine.module) as gradients:
        finite = True
        for position, batch in enumerate(batches):
            engine.set_gradient_accumulation_boundary(position + 1 == len(batches))
            loss, metrics = _loss(context, batch)
            # DeepSpeed takes the mean over ranks; each has as many rows.
            loss = loss * (len(batch.rows) / rows)
            for name, numbers in metrics.items():
                total = totals.setdefault(name, torch.zeros(responses, dtype=torch.float64))  # (R,)
                total[batch.rows] += numbers.cpu().double()
            finite = finite and bool(torch.isfinite(loss))
            context.spare_memory()
            engine.backward(loss)
            context.spare_memory()
        # All ranks stop, or none: one that went on alone would wait for the others for ever.
        if not all(gather([finite])):
            raise PolicyCollapse(f"step {step + 1}: the loss is not finite; the update was not applied")
        if not all(gather([gradients.finite()])):
            raise PolicyCollapse(f"step {step + 1}: a gradient is not finite; it was not applied")
    norm = whole_norm(engine.module)
    engine.step()
    context.spare_memory()
    engine.eval()
    reported = engine.get_global_grad_norm()  # None without ZeRO in float32
    return float(norm if reported is None else reported)


def _loss(context: TrainingContext, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """The algorithm's loss of a micro-batch, with the graph, and its metrics (B,)."""
    log_probs, values = _forward(context, batch)
    if _needs_old_log_probs(context, batch) and batch.old_log_probs is None:
        batch.old_log_probs = log_probs.detach()  # the only update: this policy is the one that sampled
    if batch.sampler_log_probs is None:
        return context.algorithm.loss(batch, log_probs, values)
    assert batch.old_log_probs is not None
    ratios = log_ratios(batch.old_log_probs, batch.sampler_log_probs)  # (B, S)
    if context.importance_limit is not None:
        weights = importance_weights(
            ratios,
            batch.mask,
            limit=context.importance_limit,
            responses_per_loss=context.algorithm.responses_per_loss,
        )  # (B,)
        log_probs = weigh_gradients(log_probs, weights)
        values = None if values is None else weigh_gradients(values, weights)
    loss, metrics = context.algorithm.loss(batch, log_probs, values)
    return loss, metrics | mismatch_metrics(ratios, batch.mask)


def _forward(context: TrainingContext, batch: MicroBatch) -> tuple[Tensor, Tensor | None]:
    """Log-probs and, of a policy with a critic, values: (B, S) each."""
    output = context.engine(*batch.inputs)
    return (output, None) if context.algorithm.critic_rate is None else output
