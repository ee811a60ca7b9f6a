"""How far the engine that samples is from the policy that learns, by the log-probs of the sampled tokens.

vLLM computes a policy by other kernels than training does, and by weights that were handed to it. With q what
it samples from, pi the policy before the step's first update, and r_t = ln pi(y_t) - ln q(y_t) of a token
that was sampled from q:

    KL(q || pi) = E_q[exp(r_t) - 1 - r_t]   per token

Source: the estimator k3 of J. Schulman, "Approximating KL Divergence" (2020), joschu.net/blog/kl-approx.html.
It is unbiased as -r_t is, for E_q[exp(r_t)] = 1, but never negative, and near 0 it is r_t^2 / 2: where two
engines only round apart, the -r_t of a batch would be noise a hundred times what is looked for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from apo_core.model.micro_batch import sum_tokens

# Nats per token by the policy's dtype, far above what rounding makes of it: docs/experiments.md, "mismatch".
MAX_SAMPLER_KL = {"float32": 1e-6, "bfloat16": 0.01}
FAR = math.log(2)  # nats; beyond it one of the two holds a token for twice as likely as the other
_FARTHEST = 20.0  # nats; whatever is beyond, or no number, counts as this much, and metrics stay finite


def log_ratios(log_probs: Tensor, sampler_log_probs: Tensor) -> Tensor:
    """Ln pi - ln q of tokens.

    Args:
        log_probs: (B, S) under the policy that learns.
        sampler_log_probs: (B, S) under what they were sampled from.

    Returns:
        (B, S) float64 without gradient, within 20 nats of 0; 20 what is no number.
    """
    ratios = log_probs.detach().double() - sampler_log_probs.double()  # (B, S)
    return ratios.nan_to_num(nan=_FARTHEST).clamp(-_FARTHEST, _FARTHEST)


def mismatch_metrics(ratios: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Per response, means over its tokens.

    Args:
        ratios: (B, S) from `log_ratios`.
        mask: (B, S) bool, the responses' tokens.

    Returns:
        (B,) float64 each: `sampler_kl`, nats per token, the mean of exp(r) - 1 - r; `sampler_off`, the share
        of tokens with |r| above ln 2.
    """
    lengths = mask.sum(dim=1).clamp(min=1)  # (B,)
    divergence = torch.expm1(ratios) - ratios  # (B, S)
    off = (ratios.abs() > FAR).double()  # (B, S)
    return {
        "sampler_kl": sum_tokens(divergence, mask) / lengths,
        "sampler_off": sum_tokens(off, mask) / lengths,
    }


def importance_weights(ratios: Tensor, mask: Tensor, *, limit: float, responses_per_loss: int) -> Tensor:
    """min(pi(y|x) / q(y|x), limit): what a loss of responses from q counts, to be a mean over pi's.

    Responses that share a loss share the product of their ratios: they were sampled independently.

    Source: E. Ionides, "Truncated Importance Sampling" (2008); for the mismatch of two engines F. Yao et al.,
    "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (2025), there token by token.
    Here it is the response's ratio, for it is responses that losses here are means over.

    Args:
        ratios: (B, S) from `log_ratios`.
        mask: (B, S) bool, the responses' tokens.
        limit: the largest weight; without one a single response could outweigh its batch.
        responses_per_loss: consecutive rows that share one.

    Returns:
        (B,) float64 without gradient.
    """
    shared = sum_tokens(ratios, mask).view(-1, responses_per_loss).sum(dim=1)  # (B / responses_per_loss,)
    return shared.exp().clamp(max=limit).repeat_interleave(responses_per_loss)


def weigh_gradients(numbers: Tensor, weights: Tensor) -> Tensor:
    """The same numbers, whose gradients are multiplied by their row's weight.

    Done to log-probs (and to a critic's values), this weighs each response's loss, whichever algorithm's it
    is, for that depends on the response's own log-probs alone.

    Args:
        numbers: (B, S) with a gradient.
        weights: (B,) without.

    Returns:
        (B, S), bit for bit `numbers`.
    """
    fixed = numbers.detach()
    return fixed + weights.to(numbers.dtype)[:, None] * (numbers - fixed)
