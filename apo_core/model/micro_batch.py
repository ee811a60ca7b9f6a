"""Micro-batches: responses in one padded forward pass, few enough to fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(kw_only=True)
class MicroBatch:
    """B prompts with their responses, padded on the right to T tokens, and what training knows of them.

    Everything of shape (B, S), S = T - 1, belongs to the next token: `mask` is True where that is a token of
    the response, the end-of-sequence token included. Only there do numbers count.
    """

    token_ids: Tensor  # (B, T) long
    attended: Tensor  # (B, T) bool, True for prompt and response tokens
    mask: Tensor  # (B, S) bool
    # In training only:
    rows: list[int] = field(default_factory=list)  # positions of the B responses in the rank's RolloutBatch
    scored: Tensor | None = None  # (B,) bool, False where the verifier failed: weight 0 in the loss
    mean_length: float = 0.0  # tokens per response, over the whole optimizer update and all ranks
    max_new_tokens: int = 0
    # Recorded before the step's first update, without gradient; None where the algorithm needs none.
    reference_log_probs: Tensor | None = None  # (B, S) of the reference policy
    old_log_probs: Tensor | None = None  # (B, S) of the policy that sampled the responses
    sampler_log_probs: Tensor | None = None  # (B, S) of the engine that did, as it computes that policy
    old_values: Tensor | None = None  # (B, S) of the critic, before each token
    targets: dict[str, Tensor] = field(default_factory=dict)  # from `Algorithm.targets`: (B,) or (B, S)

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `ResponseLogProbs` and `Critic` are called with."""
        return self.token_ids, self.attended, self.mask


def pad_responses(
    prompts: list[list[int]], responses: list[list[int]], pad_id: int, device: torch.device | None = None
) -> MicroBatch:
    """Pad token ids to one micro-batch.

    Args:
        prompts: B lists.
        responses: B lists, end-of-sequence tokens included.
        pad_id: fills the right.
        device: of the tensors.
    """
    sequences = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
    shape = (len(sequences), max(map(len, sequences)))
    token_ids = torch.full(shape, pad_id, dtype=torch.long)
    attended = torch.zeros(shape, dtype=torch.bool)
    response = torch.zeros(shape, dtype=torch.bool)
    for row, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True)):
        token_ids[row, : len(sequence)] = torch.tensor(sequence)
        attended[row, : len(sequence)] = True
        response[row, len(prompt) : len(sequence)] = True
    return MicroBatch(
        token_ids=token_ids.to(device), attended=attended.to(device), mask=response[:, 1:].to(device)
    )


def at_tokens(numbers: list[list[float]], mask: Tensor) -> Tensor:
    """Lay out responses' numbers per token as a micro-batch is.

    Args:
        numbers: B lists, one number per token of the response.
        mask: (B, S) bool, the responses' tokens.

    Returns:
        (B, S) float32, 0 where there is no token.
    """
    laid_out = torch.zeros(mask.shape)
    laid_out[mask.cpu()] = torch.tensor([number for row in numbers for number in row])  # (M,)
    return laid_out.to(mask.device)


def micro_batches(lengths: list[int], *, max_tokens: int, at_least: int = 1) -> list[list[int]]:
    """Cut rows of like length into micro-batches by a budget of tokens, padding included.

    Args:
        lengths: of B rows, in tokens.
        max_tokens: rows x longest row of a micro-batch; a row that is longer by itself is one of its own.
        at_least: how many micro-batches to make, at most B: ranks take part in each other's.

    Returns:
        Positions, every one once; the longest rows first, so that what does not fit fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    cut: list[list[int]] = []
    for row in order:
        if cut and (len(cut[-1]) + 1) * lengths[cut[-1][0]] <= max_tokens:
            cut[-1].append(row)
        else:
            cut.append([row])
    while len(cut) < at_least:
        widest = max(cut, key=len)
        position, middle = cut.index(widest), len(widest) // 2
        cut[position : position + 1] = [widest[:middle], widest[middle:]]
    return cut


def sum_tokens(numbers: Tensor, mask: Tensor) -> Tensor:
    """Sum each row's numbers where the mask is True; whatever else is in the row does not matter.

    The sum is the same every time: on a processor the terms are added one after another, in order; on a GPU,
    where `index_add` would add them in another order every time, by one reduction per row.

    Args:
        numbers: (B, S)
        mask: (B, S) bool; a row without any True sums to 0, which still back-propagates.

    Returns:
        (B,)
    """
    return _sum_in_order(numbers, mask) if numbers.device.type == "cpu" else _sum_at_once(numbers, mask)


def _sum_in_order(numbers: Tensor, mask: Tensor) -> Tensor:
    rows = mask.nonzero()[:, 0]  # (M,)
    return numbers.new_zeros(len(numbers)).index_add(0, rows, numbers[mask])


def _sum_at_once(numbers: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, numbers, 0.0).sum(dim=-1)
