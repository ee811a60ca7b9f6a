"""The least reward that the guard lets pass."""

import math

import pytest
from scipy.stats import binom

from apo_core.training.least_reward import _divergence, least_reward


@pytest.mark.parametrize(
    ("expected", "share", "least"), [(0.4, 0.5, 0.2), (0.4, 0.0, 0.0), (1.0, 0.5, 0.5), (0.0, 0.5, 0.0)]
)
def test_many_rewards_leave_the_share_as_it_is(expected, share, least):
    assert least_reward(expected, share=share, rewards=10_000) == pytest.approx(least)


def test_few_rewards_are_bounded_by_chance():
    # Below m with n D(m, e) = ln 10,000: by hand for n = 100 and e = 0.2.
    least = least_reward(0.2, share=0.9, rewards=100)
    divergence = least * math.log(least / 0.2) + (1 - least) * math.log((1 - least) / 0.8)
    assert 100 * divergence == pytest.approx(math.log(10_000))
    assert 0 < least < 0.18


@pytest.mark.parametrize("rewards", [40, 160, 1280])
@pytest.mark.parametrize("expected", [0.01, 0.05, 0.1, 0.3, 0.5])
def test_a_policy_that_has_not_changed_hardly_ever_gets_less(expected, rewards):
    least = least_reward(expected, share=0.9, rewards=rewards)
    assert binom.cdf(math.ceil(least * rewards) - 1, rewards, expected) <= 1e-4


@pytest.mark.parametrize(
    ("mean", "expected", "divergence"),
    [
        (0.0, 0.25, math.log(4 / 3)),  # ln(1 / (1 - e))
        (1.0, 0.25, math.log(4)),  # ln(1 / e)
        (0.25, 0.25, 0.0),
        (0.5, 0.25, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        (1.0, 1.0, 0.0),
        (0.5, 1.0, math.inf),  # what is always right is not wrong by chance
    ],
)
def test_the_divergence_by_hand(mean, expected, divergence):
    assert _divergence(mean, expected) == pytest.approx(divergence)


def test_no_reward_at_all_passes_where_it_may_be_chance():
    assert least_reward(0.05, share=0.5, rewards=160) == 0.0  # 0.95^160 = 0.0003
    assert least_reward(0.06, share=0.5, rewards=160) > 0.0  # 0.94^160 = 0.00005
