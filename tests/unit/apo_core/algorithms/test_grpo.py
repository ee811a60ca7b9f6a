import math

import pytest
import torch

from apo_core.algorithms.grpo import Grpo, group_advantages, grpo_loss, token_divisors

NAN = math.nan


def doubles(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


def test_advantages_are_from_the_groups_mean_over_its_deviation():
    # Mean 1/2, deviation sqrt(4 * 1/4 / 3); and a group whose rewards are all equal teaches nothing.
    rewards = doubles([1, 0, 0, 1], [1, 1, 1, 1])
    advantages = group_advantages(rewards, scale="std")
    half = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    torch.testing.assert_close(advantages, doubles([half, -half, -half, half], [0, 0, 0, 0]))
    assert group_advantages(rewards, scale="none").tolist() == [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0]]


def test_a_group_is_of_those_that_have_a_reward():
    rewards = doubles([1, NAN, 0, 0.5], [1, NAN, NAN, NAN], [NAN] * 4)
    advantages = group_advantages(rewards, scale="std")
    half = 0.5 / (0.5 + 1e-4)  # mean 1/2, deviation sqrt((1/4 + 1/4) / 2)
    torch.testing.assert_close(advantages, doubles([half, 0, -half, 0], [0] * 4, [0] * 4))


@pytest.mark.parametrize(
    ("normalisation", "divisors"), [("response", [2, 1]), ("constant", [9, 9]), ("tokens", [1.5, 1.5])]
)
def test_what_a_responses_sum_is_divided_by(normalisation, divisors):
    mask = torch.tensor([[True, True, False], [False, True, False]])
    response_divisors = token_divisors(mask, normalisation, mean_length=1.5, max_new_tokens=9)
    assert response_divisors.tolist() == divisors
    assert response_divisors.dtype == torch.float32


def test_an_empty_response_is_divided_by_one():
    assert token_divisors(torch.zeros(1, 3).bool(), "response", mean_length=1, max_new_tokens=9).tolist() == [
        1
    ]


# Ratios 1.25 and 0.5 at an advantage of 2, clipped to [0.8, 1.2]: 2.4 and 1; at -1: -1.25 and -0.8.
POLICY = doubles([0.5, 0.2, 0.9], [0.5, 0.2, 0.3]).log()
OLD = doubles([0.4, 0.4, 0.1], [0.4, 0.4, 0.3]).log()
REFERENCE = doubles([0.5, 0.4, 0.7], [0.5, 0.2, 0.6]).log()
MASK = torch.tensor([[True, True, False], [True, True, True]])
YES = torch.tensor([True, True])


def loss_of(log_probs, reference=REFERENCE, scored=YES, advantages=(2.0, -1.0), mask=MASK, **overrides):
    loss_arguments = {"beta": 0.1, "clip_low": 0.2, "clip_high": 0.2} | overrides
    divisors = mask.sum(dim=1).clamp(min=1).double()
    return grpo_loss(
        log_probs, OLD, reference, doubles(*advantages), mask, divisors, scored, **loss_arguments
    )


def test_the_loss_is_the_published_one():
    loss, parts = loss_of(POLICY.clone().requires_grad_())
    penalty = 2 - math.log(2) - 1  # where pi_ref / pi is 2; it is 1 elsewhere
    first = (-2.4 - 1 + 0.1 * penalty) / 2
    second = (1.25 + 0.8 + 1 + 0.1 * penalty) / 3
    assert parts["loss"].tolist() == pytest.approx([first, second])
    assert loss.item() == pytest.approx((first + second) / 2)
    assert parts["clipped"].tolist() == pytest.approx([1 / 2, 1 / 3])
    # ln 0.4/0.5 + ln 0.4/0.4, and ln 0.4/0.5 + ln 0.4/0.2 + ln 0.3/0.6
    assert parts["kl"].tolist() == pytest.approx([math.log(0.8), math.log(0.8)])
    assert not any(part.requires_grad for part in parts.values())


def test_a_clipped_token_has_no_gradient_and_another_that_of_its_ratio():
    log_probs = POLICY.clone().requires_grad_()
    loss_of(log_probs, None)[0].backward()
    # -A rho / length / responses where it is not clipped.
    expected = doubles([0, -2 * 0.5 / 4, 0], [1.25 / 6, 0, 1 / 6])
    torch.testing.assert_close(log_probs.grad, expected)


def test_the_bounds_differ_where_they_are_said_to():
    parts = loss_of(POLICY, None, clip_high=0.3)[1]  # 1.25 is within 1.3
    assert parts["loss"].tolist() == pytest.approx([(-2.5 - 1) / 2, (1.25 + 0.8 + 1) / 3])


def test_without_a_reference_there_is_no_kl():
    assert set(loss_of(POLICY, None)[1]) == {"loss", "clipped"}


def test_a_response_without_a_reward_has_no_weight_in_the_mean_over_all():
    log_probs = POLICY.clone().requires_grad_()
    loss, parts = loss_of(log_probs, scored=torch.tensor([True, False]))
    assert parts["loss"][1] == 0
    assert loss.item() == pytest.approx(parts["loss"][0].item() / 2)
    loss.backward()
    assert (log_probs.grad[1] == 0).all()


def test_an_empty_mask_yields_a_zero_that_back_propagates():
    log_probs = POLICY.clone().requires_grad_()
    loss, _ = loss_of(log_probs, mask=torch.zeros_like(MASK))
    assert loss.item() == 0
    loss.backward()
    assert (log_probs.grad == 0).all()


def naive(log_probs, old, reference, advantages, mask, beta, low, high):
    """The GRPO loss in a loop over tokens, as the paper writes it."""
    total = 0.0
    for i in range(len(mask)):
        tokens = [t for t in range(mask.shape[1]) if mask[i, t]]
        inner = 0.0
        for t in tokens:
            ratio = math.exp(log_probs[i, t] - old[i, t])
            a = float(advantages[i])
            surrogate = min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)
            towards = math.exp(reference[i, t] - log_probs[i, t])
            inner += surrogate - beta * (towards - math.log(towards) - 1)
        total -= inner / len(tokens) / len(mask)
    return total


def random_case(seed):
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = torch.rand(5, 7, generator=generator) < 0.7
    mask[:, 0] = True
    policy = numbers(5, 7)
    return policy, policy + 0.3 * numbers(5, 7), policy + 0.5 * numbers(5, 7), numbers(5), mask


@pytest.mark.parametrize("seed", range(20))
def test_it_equals_a_loop_over_tokens(seed):
    policy, old, reference, advantages, mask = random_case(seed)
    divisors = token_divisors(mask, "response", mean_length=0, max_new_tokens=0).double()
    every = torch.ones(5).bool()
    loss_arguments = {"beta": 0.04, "clip_low": 0.2, "clip_high": 0.28}
    loss, _ = grpo_loss(policy, old, reference, advantages, mask, divisors, every, **loss_arguments)
    expected = naive(policy, old, reference, advantages, mask, 0.04, 0.2, 0.28)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_gradcheck_agrees_with_finite_differences():
    policy, old, reference, advantages, mask = random_case(3)
    divisors = mask.sum(dim=1).double()
    every = torch.ones(5).bool()
    assert torch.autograd.gradcheck(
        lambda log_probs: grpo_loss(
            log_probs,
            old,
            reference,
            advantages,
            mask,
            divisors,
            every,
            beta=0.04,
            clip_low=0.2,
            clip_high=0.2,
        )[0],
        [policy.requires_grad_()],
    )


def test_targets_are_the_advantages_of_all_responses_in_order():
    method = Grpo(responses=2, beta=0.0, clip_low=0.2, clip_high=0.2, scale="none", normalisation="response")
    rewards = torch.tensor([[1.0, 0.0], [NAN, 1.0]])
    targets = method.targets(rewards, torch.zeros(2), [], lambda own: own)
    assert targets["advantages"].tolist() == [0.5, -0.5, 0.0, 0.0]
    assert not method.needs_reference
