"""A canary: a few tokens whose log-probs show whether another engine holds the policy's weights."""

from __future__ import annotations

import math
from itertools import islice, takewhile
from typing import Any, NamedTuple

import torch

from apo_core.errors import ApoError
from apo_core.training import ranks

_TOKENS = 128
_PIECE = 16  # tokens of one prompt: several prompts, and each with some context
# Nats per token that two engines may round log-probs apart, on average. They round bfloat16 logits, too.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}


class Difference(NamedTuple):
    """How far the log-probs of two engines are apart, in nats per token."""

    mean: float
    largest: float


def canary_tokens(prompts: list[list[int]], *, longest: int) -> list[int]:
    """Take 128 tokens, or as many as there are, from the middle of several prompts.

    What all prompts begin and end with, a chat's template, is left out: every policy is certain of it,
    whatever its weights, and of its repetitions too.

    Args:
        prompts: token ids.
        longest: at most as many tokens.
    """
    start, end = _common(prompts), _common([prompt[::-1] for prompt in prompts])
    own = [_middle(prompt[start : len(prompt) - end]) for prompt in prompts]
    # Whole prompts after them: few prompts, or prompts all the same, have little of their own.
    tokens = (token for piece in [*own, *prompts] for token in piece)
    return list(islice(tokens, min(_TOKENS, longest)))


def _common(prompts: list[list[int]]) -> int:
    """How many tokens all begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))


def _middle(tokens: list[int]) -> list[int]:
    """At most 16 of them."""
    skipped = max(0, len(tokens) - _PIECE) // 2
    return tokens[skipped : skipped + _PIECE]


def policy_log_probs(policy: Any, token_ids: list[int]) -> list[float]:
    """What `VllmSampler.log_probs` computes, by the model itself."""
    ids = torch.tensor([token_ids], device=policy.device)  # (1, T)
    with torch.no_grad():
        logits = policy(input_ids=ids, use_cache=False).logits.float()  # (1, T, V)
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])  # (1, T - 1, 1)
    numbers: list[float] = chosen.flatten().tolist()
    return numbers


def difference(policy: list[float], sampler: list[float]) -> Difference:
    """Compare log-probs of the same tokens; infinitely far is what is no finite number."""
    distances = [abs(ours - theirs) for ours, theirs in zip(policy, sampler, strict=True)]
    if not all(map(math.isfinite, distances)):
        return Difference(math.inf, math.inf)
    return Difference(sum(distances) / len(distances), max(distances))


def refuse_difference(policy: list[float], sampler: list[float], dtype: torch.dtype) -> None:
    """Stop all ranks where vLLM's log-probs are not the policy's on one of them.

    Args:
        policy: log-probs of the canary's tokens except the first.
        sampler: the same by vLLM.
        dtype: of the policy; decides how far apart rounding takes them.

    Raises:
        ApoError: they differ by more than rounding.
    """
    worst = max(ranks.gather([difference(policy, sampler)]))
    if worst.mean > TOLERANCE[dtype]:
        raise ApoError(
            f"train.sampler: vLLM's log-probs are {worst.mean:.2g} nats per token from the policy's, "
            f"{worst.largest:.2g} at most: it has not taken the weights over; train with "
            "train.sampler.engine=transformers"
        )
