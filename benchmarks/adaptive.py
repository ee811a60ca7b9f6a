"""What adaptive sampling saves: samples per prompt and the error of V*, compared with fixed numbers.

    python -m benchmarks.adaptive [--prompts 1024]

Trains the embedded task's reference policy and samples 128 responses per training prompt. V* of the last 64
is the truth that estimates are compared with; "fixed N" uses the first N of the other 64, and adaptive
sampling takes as many of them as it wants. The truth's own sampling error is part of the error in every row
alike. "fixed N, pooled" is adaptive sampling's estimator with N samples for every prompt: the difference
between it and adaptive sampling is what choosing the prompts to sample more is worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from apo_core.config.file import load_params
from apo_core.values.adaptive import sample_until_settled
from apo_core.values.optimal import optimal_value
from apo_core.values.pooled import Prior, fit_prior, pooled_value, successes
from benchmarks.embedded import sampled_rewards

TRUTH, FIRST = 64, 2
FIXED = (2, 4, 6, 8, 12, 16, 24, 32)
LIMITS = (8, 16, 32)
DEVIATIONS = (0.08, 0.09, 0.1, 0.11, 0.12, 0.13)


def main() -> None:
    """Print a table with one row per way of sampling."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1024, help="number of training prompts")
    arguments = parser.parse_args()
    params = load_params(Path("presets/embedded.yaml"))
    rewards = sampled_rewards(params, prompts=arguments.prompts, samples=2 * TRUTH)  # (P, 128)
    beta1 = params.values.beta1
    truth, rewards = optimal_value(rewards[:, TRUTH:], beta1), rewards[:, :TRUTH]
    print(f"{len(rewards)} prompts, mean reward {rewards.mean():.3f}, beta1 {beta1:g}\n")
    print(f"{'':34}{'samples per prompt':>20}{'RMS error of V*':>17}")
    fixed = {n: error(optimal_value(rewards[:, :n], beta1), truth) for n in FIXED}
    for n, rms_error in fixed.items():
        print_row(f"fixed {n}", n, rms_error)
    for n in FIXED:
        print_row(f"fixed {n}, pooled", n, error(pooled(rewards[:, :n], beta1), truth))
    for limit in LIMITS:
        for deviation in DEVIATIONS:
            samples, v_star = adaptive(rewards, beta1, deviation, limit)
            rms_error = error(v_star, truth)
            note = saving(samples, rms_error, fixed)
            print_row(f"at most {limit}, deviation {deviation}", samples, rms_error, note)


def print_row(name: str, samples: float, rms_error: float, note: str = "") -> None:
    """Print one row of the table."""
    print(f"{name:34}{samples:20.2f}{rms_error:17.4f}  {note}", flush=True)


def saving(samples: float, rms_error: float, fixed: dict[int, float]) -> str:
    """Share of samples saved compared with the largest fixed N that has no smaller error."""
    no_better = [n for n, fixed_error in fixed.items() if fixed_error >= rms_error]
    return f"{1 - samples / max(no_better):.0%} fewer than fixed {max(no_better)}" if no_better else ""


def error(v_star: Tensor, truth: Tensor) -> float:
    """Root mean square error of (P,) estimates of V*."""
    return float((v_star - truth).square().mean().sqrt())


def prior_of(scores: Tensor) -> Prior:
    """Prior over the prompts' success rates, fitted to (P, N) successes."""
    return fit_prior(scores.flatten(), torch.arange(len(scores)).repeat_interleave(scores.shape[1]))


def pooled(rewards: Tensor, beta1: float) -> Tensor:
    """(P,) V* from (P, N) rewards by the pooled estimator, its prior fitted to all of them."""
    scores = successes(rewards, beta1)
    counts = torch.full((len(scores),), scores.shape[1])
    return pooled_value(scores.sum(dim=1), counts, prior_of(scores), beta1)[0]


def adaptive(rewards: Tensor, beta1: float, deviation: float, limit: int) -> tuple[float, Tensor]:
    """Mean number of samples per prompt, and (P,) V*, of adaptive sampling from (P, N) recorded rewards."""
    scores = successes(rewards, beta1)
    sums, counts = scores[:, :FIRST].sum(dim=1), torch.full((len(scores),), float(FIRST), dtype=torch.float64)
    prior = prior_of(scores[:, :FIRST])

    def take_samples(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
        more = scores[positions, start : start + size].sum(dim=1)
        sums[positions] += more
        counts[positions] += size
        return more, torch.full((len(positions),), float(size), dtype=torch.float64)

    sample_until_settled(
        sums, counts, take_samples, prior=prior, beta1=beta1, deviation=deviation, first=FIRST, limit=limit
    )
    return float(counts.mean()), pooled_value(sums, counts, prior, beta1)[0]


if __name__ == "__main__":
    main()
