"""Token sampling from logits; each token depends on its row's distribution and uniform number only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

NO_TOKEN = -1  # in the place of a token, where a row's logits are not finite

# The shortest sums are the most exact, and 128 divides the vocabularies of most models.
_BLOCK = 128


def sample_token(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Sample one token per row by inverting the cumulative distribution: first a block, then a token in it.

    A float32 sum over a vocabulary of 150k loses the tail, and a float64 softmax over it is slow. So the
    probabilities are float32, summed over 128 at a time, and all longer sums are float64.

    Args:
        logits: (b, V)
        noise: (b,) float64 in [0, 1).
        temperature: of the softmax.

    Returns:
        (b,) long, never a token whose probability is 0; `NO_TOKEN` where a logit is infinite or not a number.
        Nobody waits here to find out: the tokens have to be read anyway.
    """
    shares = (logits.float() / temperature).softmax(dim=-1)  # (b, V)
    blocks = pad(shares, (0, -shares.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))  # (b, V / 128, 128)
    sums = blocks.sum(dim=-1)  # (b, V / 128)
    block, rest = _invert(sums, noise)
    inside, _ = _invert(blocks[torch.arange(len(block), device=block.device), block], rest)
    # One NaN among the logits makes every probability of its row one.
    return torch.where(sums.isfinite().all(dim=-1), block * _BLOCK + inside, NO_TOKEN)


def most_likely_token(logits: Tensor) -> Tensor:
    """Take the most probable token of each row, (b, V) to (b,); `NO_TOKEN` as in `sample_token`."""
    top, tokens = logits.max(dim=-1)  # (b,)
    return torch.where(top.isfinite(), tokens, NO_TOKEN)


def _invert(weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Choose among (b, K) weights by (b,) numbers in [0, 1); also where each lies within its choice."""
    cumulative = weights.double().cumsum(dim=-1)  # (b, K)
    point = noise[:, None] * cumulative[:, -1:]  # (b, 1)
    # The bound is for a point that rounding has put at the very end.
    chosen = torch.searchsorted(cumulative, point, right=True).clamp(max=weights.shape[-1] - 1)  # (b, 1)
    width = weights.double().gather(-1, chosen)
    rest = (point - cumulative.gather(-1, chosen) + width) / width
    # Below 0 by rounding it would choose the first of the next weights, even where that is 0.
    return chosen[:, 0], rest[:, 0].clamp(min=0)
