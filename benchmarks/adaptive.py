"""What adaptive sampling saves: generations and the error of V*, beside fixed numbers of samples.

    python -m benchmarks.adaptive [--prompts 1024]

The embedded task's reference is trained, and answers every training prompt 128 times. V* of the last 64
answers is the truth; fixed N takes the first N of the others, adaptive sampling draws from them in turn. So
the error contains the truth's own, alike in all rows. "fixed, pooled" is the estimator of adaptive sampling
with N samples for every prompt: what is left is due to where samples are spent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from apo_core.config.file import load_params
from apo_core.values.adaptive import draw_until_settled
from apo_core.values.optimal import optimal_value
from apo_core.values.pooled import Prior, fit_prior, pooled_value, successes
from benchmarks.embedded import sampled_rewards

TRUTH, FIRST = 64, 2
FIXED = (2, 4, 6, 8, 12, 16, 24, 32)
LIMITS = (8, 16, 32)
DEVIATIONS = (0.08, 0.09, 0.1, 0.11, 0.12, 0.13)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1024)
    arguments = parser.parse_args()
    params = load_params(Path("presets/embedded.yaml"))
    rewards = sampled_rewards(params, prompts=arguments.prompts, samples=2 * TRUTH)  # (P, 128)
    beta1 = params.values.beta1
    truth, rewards = optimal_value(rewards[:, TRUTH:], beta1), rewards[:, :TRUTH]
    print(f"{len(rewards)} prompts, mean reward {rewards.mean():.3f}, beta1 {beta1:g}\n")
    print(f"{'':34}{'samples a prompt':>17}{'RMS error of V*':>17}")
    fixed = {n: error(optimal_value(rewards[:, :n], beta1), truth) for n in FIXED}
    for n, found in fixed.items():
        line(f"fixed {n}", n, found)
    for n in FIXED:
        line(f"fixed {n}, pooled", n, error(pooled(rewards[:, :n], beta1), truth))
    for limit in LIMITS:
        for deviation in DEVIATIONS:
            used, values = adaptive(rewards, beta1, deviation, limit)
            found = error(values, truth)
            line(f"at most {limit}, deviation {deviation}", used, found, saved(used, found, fixed))


def line(name: str, samples: float, found: float, note: str = "") -> None:
    """One row."""
    print(f"{name:34}{samples:17.2f}{found:17.4f}  {note}", flush=True)


def saved(used: float, found: float, fixed: dict[int, float]) -> str:
    """Beside the largest fixed N that is no better."""
    no_better = [n for n, other in fixed.items() if other >= found]
    return f"{1 - used / max(no_better):.0%} fewer than fixed {max(no_better)}" if no_better else ""


def error(values: Tensor, truth: Tensor) -> float:
    """Root of the mean square."""
    return float((values - truth).square().mean().sqrt())


def prior_of(scores: Tensor) -> Prior:
    """Fitted to (P, N) successes."""
    return fit_prior(scores.flatten(), torch.arange(len(scores)).repeat_interleave(scores.shape[1]))


def pooled(rewards: Tensor, beta1: float) -> Tensor:
    """(P,) V* of (P, N) rewards by the pooled estimator."""
    scores = successes(rewards, beta1)
    counts = torch.full((len(scores),), scores.shape[1])
    return pooled_value(scores.sum(dim=1), counts, prior_of(scores), beta1)[0]


def adaptive(rewards: Tensor, beta1: float, deviation: float, limit: int) -> tuple[float, Tensor]:
    """Samples a prompt on average, and (P,) V*, of stage 1 as it would have drawn from (P, N) rewards."""
    scores = successes(rewards, beta1)
    sums, counts = scores[:, :FIRST].sum(dim=1), torch.full((len(scores),), float(FIRST), dtype=torch.float64)
    prior = prior_of(scores[:, :FIRST])

    def draw(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
        more = scores[positions, start : start + size].sum(dim=1)
        sums[positions] += more
        counts[positions] += size
        return more, torch.full((len(positions),), float(size), dtype=torch.float64)

    draw_until_settled(
        sums, counts, draw, prior=prior, beta1=beta1, deviation=deviation, first=FIRST, limit=limit
    )
    return float(counts.mean()), pooled_value(sums, counts, prior, beta1)[0]


if __name__ == "__main__":
    main()
