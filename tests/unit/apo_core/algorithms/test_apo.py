import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apo_core.algorithms.apo import Apo, apo_loss, unregularised_loss


def doubles(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


@pytest.fixture
def worked():
    """Log-ratios 1 and 0.5, advantages 0.5 and -0.25, residuals 0.1 - 0.5 = -0.4 and 0.05 + 0.25 = 0.3."""
    log_probs = doubles(-1.0, -2.0, grad=True)
    loss, parts = apo_loss(log_probs, doubles(-2.0, -2.5), doubles(1.0, 0.0), doubles(0.5, 0.25), beta2=0.1)
    return log_probs, loss, parts


def test_the_loss_is_the_mean_squared_residual(worked):
    assert worked[1].item() == pytest.approx((0.16 + 0.09) / 2)


def test_the_parts_are_those_of_each_response(worked):
    parts = {name: part.tolist() for name, part in worked[2].items()}
    assert parts == {
        "loss": pytest.approx([0.16, 0.09]),
        "kl": pytest.approx([1.0, 0.5]),
    }
    assert not any(part.requires_grad for part in worked[2].values())


def test_the_gradient_is_two_beta2_residual_over_the_batch(worked):
    log_probs, loss, _ = worked
    loss.backward()
    # 2 * 0.1 * (-0.4, 0.3) / 2
    assert log_probs.grad.tolist() == pytest.approx([-0.04, 0.03])


def test_only_the_policys_log_probs_carry_a_gradient():
    rest = doubles(-2.0), doubles(1.0), doubles(0.5)
    assert not apo_loss(doubles(-1.0), *rest, beta2=0.1)[0].requires_grad
    assert apo_loss(doubles(-1.0, grad=True), *rest, beta2=0.1)[0].requires_grad


def test_it_vanishes_at_the_optimum_of_kl_regularised_rl():
    values, rewards, reference = doubles(0.3, 0.8), doubles(1.0, 0.0), doubles(-7.0, -3.0)
    # beta ln pi*/pi_ref = r - V*
    log_probs = reference + (rewards - values) / 0.001
    assert apo_loss(log_probs, reference, rewards, values, beta2=0.001)[0].item() == pytest.approx(
        0, abs=1e-20
    )


numbers = st.floats(-50, 50)
responses = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=8)


@given(responses, st.floats(1e-4, 10))
def test_it_equals_the_objective_written_out_and_its_published_form(rows, beta2):
    log_probs, reference, rewards, values = (doubles(*column) for column in zip(*rows, strict=True))
    loss = apo_loss(log_probs, reference, rewards, values, beta2=beta2)[0].item()
    written = sum((beta2 * (p - q) - (r - v)) ** 2 for p, q, r, v in rows) / len(rows)
    published = (beta2 * (log_probs - reference) + values - rewards).square().mean().item()
    assert loss == pytest.approx(written, rel=1e-9, abs=1e-9)
    assert loss == pytest.approx(published, rel=1e-9, abs=1e-9)


def test_gradcheck_agrees_with_finite_differences():
    log_probs = doubles(-3.0, -40.0, -0.5, grad=True)
    reference, rewards, values = (
        doubles(-4.0, -35.0, -0.5),
        doubles(1.0, 0.0, 1.0),
        doubles(0.294, 0.611, 1.0),
    )
    assert torch.autograd.gradcheck(
        lambda policy: apo_loss(policy, reference, rewards, values, beta2=0.3)[0], [log_probs]
    )


def test_the_unregularised_loss_is_minus_advantage_times_log_prob():
    log_probs = doubles(-1.0, -2.0, grad=True)
    loss, parts = unregularised_loss(log_probs, doubles(1.0, 0.0), doubles(0.5, 0.25))
    # Advantages 0.5 and -0.25: -(0.5 * -1 + -0.25 * -2) / 2, and -(0.5, -0.25) / 2 as its gradient.
    assert loss.item() == pytest.approx(0.0)
    assert parts == {"loss": pytest.approx(doubles(0.5, -0.5))}
    loss.backward()
    assert log_probs.grad.tolist() == pytest.approx([-0.25, 0.125])


@given(responses)
def test_its_gradient_is_the_limit_of_the_regularised_one_over_two_beta2(rows):
    log_probs, reference, rewards, values = (doubles(*column) for column in zip(*rows, strict=True))
    log_probs.requires_grad_()
    (limit,) = torch.autograd.grad(unregularised_loss(log_probs, rewards, values)[0], [log_probs])
    distances = []
    for beta2 in (1e-2, 1e-4, 1e-6):
        loss = apo_loss(log_probs, reference, rewards, values, beta2=beta2)[0]
        (gradient,) = torch.autograd.grad(loss, [log_probs])
        # What is left is beta2 times the mean's share of the log-ratio.
        left = beta2 * (log_probs - reference).detach() / len(rows)
        torch.testing.assert_close(gradient / (2 * beta2), limit + left)
        distances.append((gradient / (2 * beta2) - limit).abs().max().item())
    assert distances[2] <= 1e-4


def test_a_response_without_a_reward_has_no_weight_in_the_mean_over_all():
    log_probs = doubles(-1.0, -2.0, grad=True)
    rest = doubles(-2.0, -2.5), doubles(1.0, 9.0), doubles(0.5, 0.25)
    scored = torch.tensor([True, False])
    loss, parts = apo_loss(log_probs, *rest, beta2=0.1, scored=scored)
    assert (loss.item(), parts["loss"].tolist()) == (pytest.approx(0.16 / 2), pytest.approx([0.16, 0.0]))
    loss.backward()
    assert log_probs.grad.tolist() == pytest.approx([-0.04, 0.0])


def test_the_advantage_is_the_reward_less_v_star_and_a_failed_response_has_none():
    rewards = torch.tensor([1.0, 0.0, math.nan, 1.0])[:, None]
    targets = Apo(beta2=0.1).targets(rewards, torch.tensor([0.5, 0.5, 0.9, 0.25]), [], lambda own: own)
    assert targets["v_star"].tolist() == pytest.approx([0.5, 0.5, 0.9, 0.25])
    assert (targets["rewards"] - targets["v_star"]).tolist() == pytest.approx([0.5, -0.5, 0.0, 0.75])
