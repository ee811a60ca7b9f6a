import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import betaincinv as quantile

from apo_core.values.optimal import optimal_value
from apo_core.values.pooled import Prior, fit_prior, pooled_value, successes


def drawn(alpha, beta, *, prompts, samples, seed=0):
    """Sample 0/1 rewards (P, N) of prompts whose success rates are beta distributed."""
    generator = torch.Generator().manual_seed(seed)
    rates = torch.tensor(stats.beta(alpha, beta).rvs(prompts, random_state=seed))
    return (torch.rand(prompts, samples, generator=generator, dtype=torch.float64) < rates[:, None]).double()


def owners(rewards):
    return torch.arange(len(rewards)).repeat_interleave(rewards.shape[1])


def test_a_wrong_response_counts_nothing_and_a_right_one_a_success():
    assert successes(torch.tensor([0.0, 1.0]), 0.5).tolist() == [0.0, 1.0]
    # (e - 1) / (e^2 - 1) = 1 / (e + 1)
    assert successes(torch.tensor([0.5]), 0.5).item() == pytest.approx(1 / (math.e + 1), rel=1e-12)


def test_a_small_beta1_does_not_overflow():
    assert successes(torch.tensor([0.0, 0.5, 1.0]), 1e-4).tolist() == [0.0, 0.0, 1.0]
    mean, deviation = pooled_value(torch.tensor([3.0]), torch.tensor([4.0]), Prior(1.0, 1.0), 1e-4)
    assert 0.99 < mean.item() <= 1 and deviation.item() < 1e-3


def test_a_large_beta1_counts_rewards_as_they_are():
    rewards = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(successes(rewards, 1e6), rewards, atol=1e-6, rtol=0)


@given(
    rewards=st.lists(st.floats(0, 1), min_size=1, max_size=9), beta1=st.sampled_from([0.05, 0.5, 1.0, 10.0])
)
def test_v_star_of_the_mean_success_is_v_star_of_the_rewards(rewards, beta1):
    mean = successes(torch.tensor(rewards, dtype=torch.float64), beta1).mean().item()
    value = beta1 * math.log1p(mean * math.expm1(1 / beta1))
    expected = optimal_value(torch.tensor([rewards], dtype=torch.float64), beta1).item()
    assert value == pytest.approx(expected, abs=1e-9)


def test_the_prior_by_hand():
    # Two prompts: 1 1 0 and 0 0 0. Mean 1/3; between 3 (1/9 + 1/9) = 2/3; within (2 - 4/3) / 4 = 1/6; size 3.
    # Correlation (2/3 - 1/6) / (2/3 + 2/6) = 1/2: a strength of 1.
    scores = torch.tensor([1.0, 1, 0, 0, 0, 0], dtype=torch.float64)
    prior = fit_prior(scores, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert prior == pytest.approx(Prior(1 / 3, 2 / 3))


def test_the_prior_has_the_mean_of_rewards_between_0_and_1():
    scores = torch.tensor([0.5, 0.25, 0.75, 0.0], dtype=torch.float64)
    prior = fit_prior(scores, torch.tensor([0, 0, 1, 1]))
    assert prior.alpha / sum(prior) == pytest.approx(0.375)


def test_a_cautious_prior_has_a_correlation_that_is_lower_by_its_jackknife_error():
    rewards = drawn(1.0, 2.0, prompts=60, samples=4)

    def correlation(rows, **how):
        return 1 / (1 + sum(fit_prior(rows.flatten(), owners(rows), **how)))

    without_one = torch.tensor(
        [correlation(torch.cat([rewards[:row], rewards[row + 1 :]])) for row in range(60)],
        dtype=torch.float64,
    )
    error = (59 / 60 * (without_one - without_one.mean()).square().sum()).sqrt().item()
    cautious = fit_prior(rewards.flatten(), owners(rewards), standard_errors=1.5)
    assert 1 / (1 + sum(cautious)) == pytest.approx(correlation(rewards) - 1.5 * error)
    assert cautious.alpha / sum(cautious) == pytest.approx(rewards.mean().item())


@pytest.mark.parametrize("standard_errors", [0.0, 2.0])
@pytest.mark.parametrize(
    ("scores", "owner"), [([1.0, 0.0, 1.0, 1.0], [0, 1, 2, 3]), ([1.0, 1.0, 1.0, 0.0], [0] * 4)]
)
def test_prompts_whose_differences_are_unknown_are_taken_to_be_alike(scores, owner, standard_errors):
    prior = fit_prior(
        torch.tensor(scores, dtype=torch.float64), torch.tensor(owner), standard_errors=standard_errors
    )
    assert sum(prior) == pytest.approx(499) and prior.alpha / sum(prior) == pytest.approx(0.75)


def test_prompts_without_a_sample_say_nothing():
    scores = torch.tensor([1.0, 1, 0, 0, 0, 0], dtype=torch.float64)
    assert fit_prior(scores, torch.tensor([2, 2, 2, 5, 5, 5])) == pytest.approx(Prior(1 / 3, 2 / 3))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 3.0), (0.3, 1.2), (8.0, 2.0)])
def test_the_prior_is_that_of_the_prompts(alpha, beta):
    rewards = drawn(alpha, beta, prompts=20_000, samples=3)
    fitted = fit_prior(rewards.flatten(), owners(rewards))
    assert fitted == pytest.approx(Prior(alpha, beta), rel=0.1)


def test_prompts_that_are_all_alike_make_a_strong_prior_and_ones_of_two_kinds_a_weak_one():
    alike = drawn(5000.0, 5000.0, prompts=500, samples=2)
    assert sum(fit_prior(alike.flatten(), owners(alike))) > 8
    kinds = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64).repeat(50, 1)
    assert fit_prior(kinds.flatten(), owners(kinds)) == Prior(0.05, 0.05)


@pytest.mark.parametrize("solved", [0.0, 1.0])
def test_a_set_that_is_never_or_always_solved_has_a_prior(solved):
    rewards = torch.full((100, 2), solved, dtype=torch.float64)
    prior = fit_prior(rewards.flatten(), owners(rewards))
    half_of_one = 0.5 / 200  # as if one of 200 rewards were half of the other kind
    assert prior.alpha / sum(prior) == pytest.approx(1 - half_of_one if solved else half_of_one)


@pytest.mark.parametrize(("won", "count"), [(0, 0), (0, 2), (1, 2), (7.5, 9), (64, 64)])
@pytest.mark.parametrize(
    "prior", [Prior(0.4, 0.9), Prior(4.0, 5.0), Prior(30.0, 3.0), Prior(0.05, 0.95), Prior(0.3, 0.05)]
)
@pytest.mark.parametrize("beta1", [0.1, 0.5, 5.0])
def test_mean_and_deviation_are_the_integrals(won, count, prior, beta1):
    after = (prior.alpha + won, prior.beta + count - won)

    def value(rate):
        return beta1 * math.log1p(rate * math.expm1(1 / beta1))

    def moment(function):
        # Over quantiles: the density itself may be infinite at the ends.
        return integrate.quad(lambda share: function(value(quantile(*after, share))), 0, 1, limit=400)[0]

    mean = moment(lambda v: v)
    deviation = math.sqrt(moment(lambda v: (v - mean) ** 2))
    pooled = pooled_value(torch.tensor([float(won)]), torch.tensor([float(count)]), prior, beta1)
    assert (pooled[0].item(), pooled[1].item()) == pytest.approx((mean, deviation), abs=5e-5)


def test_many_samples_outweigh_the_prior():
    mean, deviation = pooled_value(torch.tensor([7000.0]), torch.tensor([10_000.0]), Prior(1.0, 9.0), 0.5)
    expected = optimal_value(torch.tensor([[1.0] * 7 + [0.0] * 3]), 0.5).item()
    assert mean.item() == pytest.approx(expected, abs=2e-3) and deviation.item() < 0.01


def test_every_prompt_is_taken_for_itself_whatever_stands_beside_it():
    sums, counts = torch.rand(9000, dtype=torch.float64) * 4, torch.full((9000,), 4.0)
    together = pooled_value(sums, counts, Prior(1.5, 2.0), 0.5)
    separate = pooled_value(sums[5000:5001], counts[:1], Prior(1.5, 2.0), 0.5)
    for single, batch in zip(separate, together, strict=True):
        torch.testing.assert_close(single, batch[5000:5001], atol=1e-12, rtol=0)


def test_pooled_values_are_nearer_to_the_truth_than_each_prompts_own():
    rewards = drawn(2.0, 3.0, prompts=2000, samples=256)
    truth = optimal_value(rewards[:, 4:], 0.5)
    few = rewards[:, :4]
    prior = fit_prior(few.flatten(), owners(few))
    pooled, deviation = pooled_value(few.sum(1), torch.full((2000,), 4.0), prior, 0.5)
    off, own_off = (estimate - truth for estimate in (pooled, optimal_value(few, 0.5)))
    assert off.square().mean() < 0.6 * own_off.square().mean()
    # The posterior deviation is as large as the error.
    assert deviation.square().mean().sqrt().item() == pytest.approx(
        off.square().mean().sqrt().item(), rel=0.1
    )
