"""The optimizer updates of a step: rows in micro-batches, their gradients added up, applied when finite."""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from apo_core.algorithms.base import Drawn, Micro, Targets, records
from apo_core.algorithms.tokens import lay_out
from apo_core.errors import PolicyCollapse
from apo_core.model.batches import micro_batches
from apo_core.model.log_probs import Rollouts, pad_rollouts
from apo_core.training.batch import Row, mask_of, rewards_of
from apo_core.training.context import Stage2
from apo_core.training.finite import FiniteGradients, whole_norm
from apo_core.training.ranks import gather


class Lesson(NamedTuple):
    """A rank's responses of a step, and what there is to learn from them."""

    rows: list[Row]
    drawn: Drawn
    targets: Targets


def learn(stage: Stage2, step: int, rows: list[Row]) -> float:
    """Make the algorithm's updates; rows get the parts of their losses, means over epochs.

    A minibatch is a run of the batch's prompts, so every rank has an equal share of each, and what is in it
    does not depend on how many ranks there are. A batch's prompts are in a random order already.

    Args:
        stage: the parts.
        step: counted from 0, for messages.
        rows: of this rank, a prompt's together.

    Returns:
        The norm of the gradient before clipping, a mean over updates.

    Raises:
        PolicyCollapse: a loss or a gradient is not finite on some rank; that update was not applied.
    """
    algorithm = stage.algorithm
    drawn = record(stage, rows)
    lesson = Lesson(rows, drawn, algorithm.targets(drawn, gather))
    size = len(rows) // algorithm.minibatches
    norms = []
    for _ in range(algorithm.epochs):
        for start in range(0, len(rows), size):
            norms.append(_update(stage, step, lesson, list(range(start, start + size))))
    for row in rows:
        row.parts = {name: total / algorithm.epochs for name, total in row.parts.items()}
    return fmean(norms)


def record(stage: Stage2, rows: list[Row]) -> Drawn:
    """The responses as tensors, with what the first update would change where the algorithm needs it."""
    mask = mask_of(rows)  # (R, L)
    algorithm = stage.algorithm
    drawn = Drawn(
        rewards_of(rows, algorithm.responses),
        torch.tensor([row.value for row in rows[:: algorithm.responses]]),
        mask,
    )
    if not records(algorithm):
        return drawn
    found: dict[str, Tensor] = {}
    for batch in _batches(stage, rows, list(range(len(rows)))):
        padded = _padded(stage, [rows[row] for row in batch])
        for name, numbers in _measure(stage, padded).items():
            laid = lay_out(numbers.cpu(), padded.predicts.cpu(), mask[batch])
            found.setdefault(name, torch.zeros(mask.shape))[batch] = laid
    return drawn._replace(**found)


@torch.no_grad()
def _measure(stage: Stage2, padded: Rollouts) -> dict[str, Tensor]:
    """What the algorithm wants recorded of some responses, (B, T-1) each."""
    found: dict[str, Tensor] = {}
    if stage.reference is not None:
        found["reference"] = stage.reference(*padded)
    if stage.algorithm.needs_behaviour:
        log_probs, critic = _forward(stage, padded)
        found |= {"behaviour": log_probs} | ({} if critic is None else {"critic": critic})
    return found


def _update(stage: Stage2, step: int, lesson: Lesson, chosen: list[int]) -> float:
    """Accumulate the gradient of some rows over micro-batches, apply it once, and return its norm."""
    batches = _batches(stage, lesson.rows, chosen)
    lengths = gather([len(lesson.rows[row].response.token_ids) for row in chosen])
    mean_length = sum(lengths) / len(lengths)
    stage.engine.train()  # gradient checkpointing works in this mode only; there is no dropout to switch on
    with FiniteGradients(stage.engine.module) as gradients:
        finite = True
        for position, batch in enumerate(batches):
            stage.engine.set_gradient_accumulation_boundary(position + 1 == len(batches))
            # DeepSpeed takes the mean over ranks; each has as many rows.
            loss = _micro_batch(stage, lesson, batch, mean_length) * (len(batch) / len(chosen))
            finite = finite and bool(torch.isfinite(loss))
            stage.spare_memory()
            stage.engine.backward(loss)
            stage.spare_memory()
        # All ranks stop, or none: one that went on alone would wait for the others for ever.
        if not all(gather([finite])):
            raise PolicyCollapse(f"step {step + 1}: the loss is not finite; the update was not applied")
        if not all(gather([gradients.finite()])):
            raise PolicyCollapse(f"step {step + 1}: a gradient is not finite; it was not applied")
    norm = whole_norm(stage.engine.module)
    stage.engine.step()
    stage.spare_memory()
    stage.engine.eval()
    reported = stage.engine.get_global_grad_norm()  # None without ZeRO in float32
    return float(norm if reported is None else reported)


def _batches(stage: Stage2, rows: list[Row], chosen: list[int]) -> list[list[int]]:
    """Micro-batches of some rows, as many on every rank; rows that have one loss stay together."""
    together = stage.algorithm.together
    lengths = [len(rows[row].prompt) + len(rows[row].response.token_ids) for row in chosen]
    longest = [max(lengths[start : start + together]) for start in range(0, len(lengths), together)]
    budget = stage.micro_batch_tokens // together
    count = max(gather([len(micro_batches(longest, max_tokens=budget))]))
    return [
        [chosen[unit * together + number] for unit in units for number in range(together)]
        for units in micro_batches(longest, max_tokens=budget, at_least=count)
    ]


def _micro_batch(stage: Stage2, lesson: Lesson, batch: list[int], mean_length: float) -> Tensor:
    """The mean loss of some rows, with the graph; every row learns its parts."""
    loss, parts = stage.algorithm.loss(_micro(stage, lesson, batch, mean_length))
    for name, numbers in parts.items():
        for row, number in zip(batch, numbers.tolist(), strict=True):
            known = lesson.rows[row].parts
            known[name] = known.get(name, 0.0) + number
    return loss


def _micro(stage: Stage2, lesson: Lesson, batch: list[int], mean_length: float) -> Micro:
    device = stage.engine.device
    padded = _padded(stage, [lesson.rows[row] for row in batch])
    drawn, mask = lesson.drawn, padded.predicts

    def laid(numbers: Tensor) -> Tensor:
        own = numbers[batch]
        return (own if own.ndim == 1 else lay_out(own, drawn.mask[batch], mask.cpu())).to(device)

    reference = None if drawn.reference is None else laid(drawn.reference)
    if reference is None and stage.reference is not None:
        with torch.no_grad():
            reference = stage.reference(*padded)
    log_probs, critic = _forward(stage, padded)
    return Micro(
        log_probs=log_probs,
        mask=mask,
        scored=~drawn.rewards.flatten().isnan()[batch].to(device),
        behaviour=log_probs.detach() if drawn.behaviour is None else laid(drawn.behaviour),
        reference=reference,
        critic=critic,
        targets={name: laid(numbers) for name, numbers in lesson.targets.items()},
        mean_length=mean_length,
        max_new_tokens=stage.max_new_tokens,
    )


def _forward(stage: Stage2, padded: Rollouts) -> tuple[Tensor, Tensor | None]:
    """Log-probs and, of a policy with a critic, values: (B, T-1) each."""
    found = stage.engine(*padded)
    return (found, None) if stage.algorithm.critic_rate is None else found


def _padded(stage: Stage2, rows: list[Row]) -> Rollouts:
    prompts = [row.prompt for row in rows]
    responses = [row.response.token_ids for row in rows]
    return pad_rollouts(prompts, responses, stage.pad_id).to(stage.engine.device)
