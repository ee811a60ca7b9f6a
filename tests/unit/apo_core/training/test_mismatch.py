"""The mismatch of sampler and policy: values by hand, and what its weights do to every algorithm's loss."""

import math

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms import make_algorithm
from apo_core.config import DEFAULTS
from apo_core.training.mismatch import importance_weights, log_ratios, mismatch_metrics, weigh_gradients

LN2, LN3 = math.log(2), math.log(3)
MASK = torch.tensor([[False, True, True], [True, False, False]])


def test_a_ratio_is_of_the_policy_to_the_sampler():
    policy = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    ratios = log_ratios(policy, torch.tensor([[-1.5, -1.75]]))
    assert ratios.tolist() == [[0.5, -0.25]]
    assert ratios.dtype == torch.float64 and not ratios.requires_grad


@pytest.mark.parametrize(
    ("policy", "sampler", "ratio"),
    [
        (-1.0, -math.inf, 20.0),
        (-math.inf, -1.0, -20.0),
        (-math.inf, -math.inf, 20.0),
        (math.nan, -1.0, 20.0),
        (-1.0, math.nan, 20.0),
        (-1.0, -30.0, 20.0),
        (-30.0, -1.0, -20.0),
    ],
)
def test_what_is_infinite_or_no_number_counts_as_far_and_stays_finite(policy, sampler, ratio):
    assert log_ratios(torch.tensor([[policy]]), torch.tensor([[sampler]])).item() == ratio


def test_the_metrics_of_two_responses_by_hand():
    ratios = torch.tensor([[9.0, LN3, -math.log(4)], [-LN2, 9.0, 9.0]], dtype=torch.float64)
    metrics = mismatch_metrics(ratios, MASK)
    # 3 - 1 - ln 3 and 1/4 - 1 + ln 4; 1/2 - 1 + ln 2.
    first = ((2 - LN3) + (math.log(4) - 0.75)) / 2
    assert metrics["sampler_kl"].tolist() == pytest.approx([first, LN2 - 0.5])
    assert metrics["sampler_off"].tolist() == [1.0, 0.0]  # a ratio of exactly 2 is not beyond 2
    slightly = mismatch_metrics(torch.tensor([[0.0, LN2 + 1e-9, 0.1], [0.0, 0.0, 0.0]]).double(), MASK)
    assert slightly["sampler_off"].tolist() == [0.5, 0.0]


def test_in_step_there_is_no_divergence():
    metrics = mismatch_metrics(torch.zeros(2, 3, dtype=torch.float64), MASK)
    assert metrics["sampler_kl"].tolist() == metrics["sampler_off"].tolist() == [0.0, 0.0]


def test_a_response_without_tokens_has_none():
    metrics = mismatch_metrics(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2).bool())
    assert (metrics["sampler_kl"].item(), metrics["sampler_off"].item()) == (0.0, 0.0)


def test_its_mean_over_what_the_sampler_samples_is_the_divergence():
    sampler, policy = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    ratios = log_ratios(policy.log()[:, None], sampler.log()[:, None])  # (3, 1), one token each
    estimates = mismatch_metrics(ratios, torch.ones(3, 1).bool())["sampler_kl"]
    expected = (sampler * (sampler / policy).log()).sum()
    torch.testing.assert_close((sampler * estimates).sum(), expected, rtol=1e-6, atol=0)
    assert (estimates >= 0).all()


def test_tiny_differences_are_not_rounded_away():
    ratios = torch.full((1, 1), 1e-6, dtype=torch.float64)
    divergence = mismatch_metrics(ratios, torch.ones(1, 1).bool())["sampler_kl"].item()
    assert divergence == pytest.approx(5e-13, rel=1e-3)


def test_a_weight_is_the_responses_ratio_up_to_the_limit():
    ratios = torch.tensor([[9.0, LN2, LN2], [-LN3, 9.0, 9.0]], dtype=torch.float64)
    assert importance_weights(ratios, MASK, limit=10.0, responses_per_loss=1).tolist() == pytest.approx(
        [4.0, 1 / 3]
    )
    assert importance_weights(ratios, MASK, limit=2.0, responses_per_loss=1).tolist() == pytest.approx(
        [2.0, 1 / 3]
    )


def test_a_pair_shares_the_product():
    ratios = torch.tensor([[0.0, LN2, LN2], [-LN3, 0.0, 0.0]], dtype=torch.float64)
    weights = importance_weights(ratios, MASK, limit=10.0, responses_per_loss=2)
    assert weights.tolist() == pytest.approx([4 / 3, 4 / 3])


def test_a_long_response_that_is_far_off_has_the_limit_as_its_weight_not_infinity():
    ratios = torch.full((1, 100), 20.0, dtype=torch.float64)
    mask = torch.ones(1, 100).bool()
    assert importance_weights(ratios, mask, limit=2.0, responses_per_loss=1).tolist() == [2.0]
    assert importance_weights(-ratios, mask, limit=2.0, responses_per_loss=1).tolist() == [0.0]


def test_weighing_keeps_every_bit_and_scales_the_gradients_of_rows():
    numbers = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weighed = weigh_gradients(numbers, torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert torch.equal(weighed, numbers) and weighed.dtype == numbers.dtype
    weighed.sum().backward()
    assert numbers.grad.tolist() == [[0.5] * 3, [2.0] * 3]


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_gradient_is_that_of_the_weighed_losses(name):
    """Of every algorithm: the losses apart, each times its weight, have the same gradient."""
    method = make_algorithm(**DEFAULTS[name])
    units, together = 3, method.responses_per_loss
    rows = units * together
    generator = torch.Generator().manual_seed(1)

    def normal():
        return torch.randn(rows, 4, generator=generator) * 0.1 - 1

    old, reference, old_values, log_probs, values = (normal() for _ in range(5))
    targets = {key: torch.rand(rows, generator=generator) for key in ("rewards", "v_star", "advantages")}
    targets |= {"returns": torch.rand(rows, 4, generator=generator)}
    mask = torch.tensor([[False, True, True, True], [True, True, True, False]]).repeat(rows, 1)[:rows]
    weights = torch.rand(units, generator=generator).double().repeat_interleave(together)

    def loss_of(chosen, log_probs, values):
        batch = micro_batch(
            mask[chosen],
            old_log_probs=old[chosen],
            reference_log_probs=reference[chosen],
            old_values=old_values[chosen],
            targets={key: numbers[chosen] for key, numbers in targets.items()},
            mean_length=3.0,
            max_new_tokens=4,
        )
        return method.loss(batch, log_probs[chosen], values[chosen])[0]

    def gradients(compute):
        leaves = [log_probs.clone().requires_grad_(), values.clone().requires_grad_()]
        compute(*leaves).backward()
        return [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]

    whole = list(range(rows))
    weighed = gradients(lambda *leaves: loss_of(whole, *(weigh_gradients(leaf, weights) for leaf in leaves)))
    apart = gradients(
        lambda *leaves: sum(
            weights[first].float() * loss_of(whole[first : first + together], *leaves) / units
            for first in range(0, rows, together)
        )
    )
    assert weighed[0].abs().max() > 0
    for actual, expected in zip(weighed, apart, strict=True):
        torch.testing.assert_close(actual, expected)
