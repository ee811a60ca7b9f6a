"""One on-policy step: sample, score, and a single optimizer update."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from apo_core.errors import PolicyCollapse, VerifierFailed
from apo_core.heap import trim_heap
from apo_core.logprobs import pad_rollouts
from apo_core.loss import apo_loss, unregularised_loss
from apo_core.sampling import Response, Sampler
from apo_core.tokenization import Template
from apo_core.training.metrics import StepMetrics
from apo_core.training.micro_batches import micro_batches
from apo_core.training.ranks import gather, share
from apo_core.verifiers import Attempt, ErrorBudget, RowError, Scorer

if TYPE_CHECKING:
    from peft import PeftModel


# (B, T) token ids, attended and response masks to (B,) float32
ReferenceLogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingSet:
    """The prompts kept for stage 2 and what each must beat."""

    prompt_ids: list[str]
    token_ids: list[list[int]]
    answers: list[str]
    rows: list[str]  # JSON: see `tables.PROMPTS`
    values: list[float]  # V*(x)


@dataclass(frozen=True)
class Stage2:
    """What a step works with; nothing here changes but the engine's weights and the budget of errors."""

    engine: Any  # deepspeed.DeepSpeedEngine over ResponseLogProbs
    reference: ReferenceLogProbs | None  # None where beta2 is 0: nothing is regularised
    adapters: PeftModel | None  # of a policy that trains nothing else
    sampler: Sampler  # of the engine's policy as it is at each call (rollouts.py)
    template: Template
    scorer: Scorer
    errors: ErrorBudget  # of the last steps
    prompts: TrainingSet
    beta2: float
    max_new_tokens: int
    temperature: float
    micro_batch_tokens: int
    pad_id: int
    seed: int


def run_step(stage: Stage2, step: int, indices: list[int]) -> StepMetrics:
    """Train on one fresh response for each of the prompts at `indices`, every rank on its share of them.

    Exactly one optimizer update: a second one on the same batch is off-policy and collapses the policy.

    Args:
        stage: the parts.
        step: counted from 0; decides the sampling noise.
        indices: B positions in the training set, the same on every rank; B is a multiple of the ranks.

    Returns:
        The step's metrics over all ranks, `step` counted from 1; without a reference there is no `kl` among
        them, `verifier_errors` only if there are any. Responses that the verifier failed on are no part of
        the loss, of reward and advantage.

    Raises:
        VerifierFailed: on no matter which ranks, it failed on too many responses.
        PolicyCollapse: the loss or a gradient is not finite on some rank; the update was not applied.
    """
    started = time.perf_counter()
    own = share(list(enumerate(indices)))
    responses = _sample(stage, step, own)
    trim_heap()
    rows = _scored(stage, [index for _, index in own], responses)
    sampled = time.perf_counter()
    norm = _update(stage, step, rows)
    ended = time.perf_counter()
    rows = gather([row._replace(prompt=[]) for row in rows])
    errors = [RowError(f"step {step + 1}, {row.prompt_id}", row.reason) for row in rows if row.reward is None]
    stage.errors.spend(errors)
    if len(errors) == len(rows):
        raise VerifierFailed(f"{errors[0].row} and all others of its step: {errors[0].reason}")
    tokens = sum(len(row.response.token_ids) for row in rows)
    return {
        "step": step + 1,
        "reward": fmean(row.reward for row in rows if row.reward is not None),
        "value": fmean(row.value for row in rows),
        "loss": fmean(row.parts["loss"] for row in rows),
        "advantage": fmean(row.reward - row.value for row in rows if row.reward is not None),
        **({"verifier_errors": len(errors)} if errors else {}),
        **({"kl": fmean(row.parts["log_ratio"] for row in rows)} if stage.reference else {}),
        "gradient_norm": norm,
        "response_length": tokens / len(rows),
        "truncated": fmean(row.response.finish_reason == "length" for row in rows),
        "tokens_per_second": tokens / (ended - started),
        "sampling_seconds": sampled - started,
        "update_seconds": ended - sampled,
    }


class Row(NamedTuple):
    """One response of the batch; `parts` of its loss are known after the update."""

    prompt_id: str
    prompt: list[int]
    response: Response
    reward: float | None  # None where the verifier failed
    reason: str
    value: float
    parts: dict[str, float]


def _sample(stage: Stage2, step: int, own: list[tuple[int, int]]) -> list[Response]:
    # The position is in the key because a batch may hold a prompt twice (batch larger than the set).
    keys = [
        f"train/{stage.seed}/{step}/{position}/{stage.prompts.prompt_ids[index]}" for position, index in own
    ]
    return stage.sampler.generate(
        [stage.prompts.token_ids[index] for _, index in own],
        keys,
        max_new_tokens=stage.max_new_tokens,
        temperature=stage.temperature,
    )


def _scored(stage: Stage2, indices: list[int], responses: list[Response]) -> list[Row]:
    prompts = stage.prompts
    texts = [stage.template.decode(response.token_ids) for response in responses]
    verdicts = stage.scorer.score(
        [
            Attempt(text, prompts.answers[index], prompts.rows[index])
            for text, index in zip(texts, indices, strict=True)
        ]
    )
    return [
        Row(
            prompts.prompt_ids[index],
            prompts.token_ids[index],
            response,
            verdict.reward,
            verdict.reason,
            prompts.values[index],
            {},
        )
        for index, response, verdict in zip(indices, responses, verdicts, strict=True)
    ]


def _update(stage: Stage2, step: int, rows: list[Row]) -> float:
    """Accumulate the gradient over micro-batches, apply it once, and return its norm before clipping."""
    lengths = [len(row.prompt) + len(row.response.token_ids) for row in rows]
    count = max(gather([len(micro_batches(lengths, max_tokens=stage.micro_batch_tokens))]))
    batches = micro_batches(lengths, max_tokens=stage.micro_batch_tokens, at_least=count)
    stage.engine.train()  # gradient checkpointing works in this mode only; there is no dropout to switch on
    with FiniteGradients(stage.engine.module) as gradients:
        finite = True
        for position, batch in enumerate(batches):
            stage.engine.set_gradient_accumulation_boundary(position + 1 == len(batches))
            chosen = [rows[row] for row in batch]
            # DeepSpeed takes the mean over ranks; each has as many rows.
            loss = _micro_batch(stage, chosen) * (len(chosen) / len(rows))
            finite = finite and bool(torch.isfinite(loss))
            _spare(stage)
            stage.engine.backward(loss)
            _spare(stage)
        # All ranks stop, or none: one that went on alone would wait for the others for ever.
        if not all(gather([finite])):
            raise PolicyCollapse(f"step {step + 1}: the loss is not finite; the update was not applied")
        if not all(gather([gradients.finite()])):
            raise PolicyCollapse(f"step {step + 1}: a gradient is not finite; it was not applied")
    norm = _whole_norm(stage.engine.module)
    stage.engine.step()
    _spare(stage)
    stage.engine.eval()
    reported = stage.engine.get_global_grad_norm()  # None without ZeRO in float32
    return float(norm if reported is None else reported)


def _spare(stage: Stage2) -> None:
    """Where memory matters more than time, give back what was freed since the last time."""
    if stage.engine.module.model.is_gradient_checkpointing:
        trim_heap()


def _micro_batch(stage: Stage2, rows: list[Row]) -> Tensor:
    """The mean loss of some rows, with the graph; every row learns its parts."""
    device = stage.engine.device
    batch = pad_rollouts([row.prompt for row in rows], [row.response.token_ids for row in rows], stage.pad_id)
    batch = batch.to(device)
    # A row without a reward has no advantage, and no weight where the reference would pull at it.
    rewards = torch.tensor(
        [row.value if row.reward is None else row.reward for row in rows], device=device
    )  # (b,)
    values = torch.tensor([row.value for row in rows], device=device)  # (b,)
    scored = torch.tensor([row.reward is not None for row in rows], device=device)  # (b,)
    if stage.reference is None:
        loss, parts = unregularised_loss(stage.engine(*batch), rewards, values)
    else:
        with torch.no_grad():
            reference_log_probs = stage.reference(*batch)
        loss, parts = apo_loss(
            stage.engine(*batch), reference_log_probs, rewards, values, beta2=stage.beta2, scored=scored
        )
    for name, numbers in parts.items():
        for row, number in zip(rows, numbers.tolist(), strict=True):
            row.parts[name] = number
    return loss


def _whole_norm(module: nn.Module) -> float:
    """The norm before clipping of gradients that lie whole in the module (ZeRO takes them elsewhere)."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))


class FiniteGradients:
    """Watches every gradient as it is computed, before DeepSpeed reduces, clips or applies it.

    DeepSpeed's own norm comes too late: where gradients are partitioned it is known after they were applied.
    The norm of a tensor that holds anything infinite or NaN is not finite, and it is read in a single pass.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._norms: list[Tensor] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> FiniteGradients:
        self._hooks = [
            parameter.register_hook(lambda gradient: self._norms.append(vector_norm(gradient)))
            for parameter in self.module.parameters()
            if parameter.requires_grad
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def finite(self) -> bool:
        """Whether all gradients so far were finite."""
        return bool(torch.stack(self._norms).isfinite().all())
