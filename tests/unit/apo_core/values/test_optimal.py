import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apo_core.values.optimal import optimal_value

rewards = st.lists(st.floats(-10, 10), min_size=1, max_size=16)
betas = st.floats(1e-3, 1e3)


def value(row, beta1):
    return optimal_value(torch.tensor([row], dtype=torch.float64), beta1).item()


def naive(row, beta1):
    return beta1 * math.log(sum(math.exp(reward / beta1) for reward in row) / len(row))


def decimal_v_star(row, beta1):
    """V* by its formula in decimals, whose exponents do not overflow."""
    with localcontext(Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN)):
        beta = Decimal(beta1)
        return float(beta * (sum((Decimal(reward) / beta).exp() for reward in row) / len(row)).ln())


# 0.5 ln((k e^2 + (8 - k)) / 8) with e^2 = 7.389; for k = 1: 0.5 ln(14.389 / 8) = 0.5 * 0.5870 = 0.2935.
@pytest.mark.parametrize(
    ("correct", "expected"), list(enumerate([0, 0.294, 0.477, 0.611, 0.717, 0.804, 0.878, 0.943, 1]))
)
def test_eight_samples_give_the_published_table(correct, expected):
    v_star = value([1.0] * correct + [0.0] * (8 - correct), 0.5)
    assert v_star == pytest.approx(expected, abs=5e-4)


def test_rows_are_independent_prompts():
    batch = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    values = optimal_value(batch, 0.5)
    assert values.shape == (3,)
    assert values.dtype == torch.float64
    # 0.5 ln((1 + e^2) / 2) = 0.5 ln 4.1945 = 0.71689
    assert values.tolist() == pytest.approx([0.0, 0.71689, 1.0], abs=1e-5)


def test_a_large_beta_gives_the_mean():
    # The next term of the expansion is variance / (2 beta1) = 0.1875 / 2e6.
    assert value([1, 0, 0, 0], 1e6) == pytest.approx(0.25 + 0.1875 / 2e6, abs=1e-8)


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
def test_an_enormous_beta_still_gives_the_mean(samples):
    assert value([1] + [0] * (samples - 1), 1e15) == pytest.approx(1 / samples, abs=1e-6)


@pytest.mark.parametrize("beta1", [1e-3, 1e-6, 1e-300])
def test_a_small_beta_gives_the_maximum(beta1):
    # V* = max + beta1 ln(share of the maximum) = 1 - beta1 ln 4
    assert value([1, 0, 0, 0], beta1) == pytest.approx(1 - beta1 * math.log(4), abs=1e-12)


@given(st.floats(-1e6, 1e6), betas)
def test_one_sample_gives_its_reward(reward, beta1):
    assert value([reward], beta1) == reward


@pytest.mark.parametrize("reward", [1e6, -1e6, 1e-12, -1e-12, 0.0])
@pytest.mark.parametrize("beta1", [1e-6, 1e-3, 0.5, 1e3])
def test_extreme_rewards_stay_finite_and_agree_with_decimals(reward, beta1):
    row = [reward, 0.0, 1.0]
    v_star = value(row, beta1)
    assert math.isfinite(v_star)
    assert sum(row) / 3 - 1e-9 <= v_star <= max(row)
    assert v_star == pytest.approx(decimal_v_star(row, beta1), rel=1e-12, abs=1e-11)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=16), st.floats(0.1, 1e3))
def test_it_agrees_with_the_formula_written_out(row, beta1):
    assert value(row, beta1) == pytest.approx(naive(row, beta1), abs=1e-10)


@given(rewards, betas)
def test_it_lies_between_mean_and_maximum(row, beta1):
    mean = torch.tensor(row, dtype=torch.float64).mean().item()
    assert min(mean, max(row)) <= value(row, beta1) <= max(row)


def test_a_prompts_value_does_not_depend_on_another_prompts_rewards():
    """exp(r / beta1), of rewards relative to the other's, would be 0."""
    values = optimal_value(torch.tensor([[1000.0, 0.0], [2.0, 1.0]], dtype=torch.float64), 1.0)
    assert values[1].item() == value([2.0, 1.0], 1.0)


@given(rewards, betas, betas)
def test_it_falls_as_beta_grows(row, first_beta1, second_beta1):
    small, large = sorted([first_beta1, second_beta1])
    assert value(row, small) >= value(row, large) - 1e-11


@given(rewards.flatmap(lambda row: st.tuples(st.just(row), st.permutations(row))), betas)
def test_the_order_of_the_samples_does_not_matter(rows, beta1):
    row, shuffled = rows
    assert value(shuffled, beta1) == pytest.approx(value(row, beta1), abs=1e-10)


@given(rewards, betas, st.floats(-100, 100))
def test_a_constant_added_to_the_rewards_is_added_to_the_value(row, beta1, constant):
    shifted = [reward + constant for reward in row]
    assert value(shifted, beta1) == pytest.approx(value(row, beta1) + constant, abs=1e-9)


@pytest.mark.parametrize("beta1", [0, -1, -0.0, math.nan, math.inf, -math.inf])
def test_an_impossible_beta_is_refused(beta1):
    with pytest.raises(ValueError, match="beta1 must be positive and finite"):
        value([1.0], beta1)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        optimal_value(torch.zeros(3, 0), 0.5)
