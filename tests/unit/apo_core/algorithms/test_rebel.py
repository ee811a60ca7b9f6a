import math

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms.rebel import Rebel, rebel_loss


def doubles(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


YES = torch.ones(4).bool()


def test_the_loss_is_the_squared_difference_of_differences():
    # (0.3 - 0.1) / 0.5 - (1 - 0) = -0.6, (-0.2 - 0.2) / 0.5 - (0.5 - 1) = -0.3
    log_ratios = doubles(0.3, 0.1, -0.2, 0.2, grad=True)
    loss, parts = rebel_loss(log_ratios, doubles(1.0, 0.0, 0.5, 1.0), YES, eta=0.5)
    assert loss.item() == pytest.approx((0.36 + 0.09) / 2)
    assert parts["loss"].tolist() == pytest.approx([0.36, 0.36, 0.09, 0.09])
    loss.backward()
    # 2 residual / eta / pairs, with either sign.
    assert log_ratios.grad.tolist() == pytest.approx([-1.2, 1.2, -0.6, 0.6])


@pytest.mark.parametrize("seed", range(10))
def test_it_equals_a_loop_over_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    ratios, rewards = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    loss, _ = rebel_loss(ratios, rewards, torch.ones(8).bool(), eta=0.7)
    written = 0.0
    for k in range(0, 8, 2):
        left = (float(ratios[k]) - float(ratios[k + 1])) / 0.7
        written += (left - (float(rewards[k]) - float(rewards[k + 1]))) ** 2 / 4
    assert loss.item() == pytest.approx(written, rel=1e-12)


def test_a_pair_without_both_rewards_has_no_weight():
    ratios = doubles(0.3, 0.1, -0.2, 0.2, grad=True)
    scored = torch.tensor([True, False, True, True])
    loss, parts = rebel_loss(ratios, doubles(1.0, 0.0, 0.5, 1.0), scored, eta=0.5)
    assert parts["loss"].tolist() == pytest.approx([0, 0, 0.09, 0.09])
    loss.backward()
    assert ratios.grad.tolist() == pytest.approx([0, 0, -0.6, 0.6])


def test_gradcheck_agrees_with_finite_differences():
    rewards = doubles(1.0, 0.0, 0.5, 1.0)
    assert torch.autograd.gradcheck(
        lambda ratios: rebel_loss(ratios, rewards, YES, eta=0.5)[0], [doubles(0.3, 0.1, -0.2, 0.2, grad=True)]
    )


def batch_of(mask, old_log_probs, reference_log_probs, rewards):
    return micro_batch(
        mask,
        old_log_probs=old_log_probs,
        reference_log_probs=reference_log_probs,
        targets={"rewards": rewards},
    )


def test_the_reward_is_less_the_penalty_of_the_policy_that_sampled():
    mask = torch.tensor([[True, True], [True, False]])
    log_probs = doubles([-1.0, -2.0], [-3.0, 99.0])
    old_log_probs = doubles([-1.5, -2.0], [-3.0, 99.0])
    reference = doubles([-2.0, -2.5], [-2.0, 99.0])
    batch = batch_of(mask, old_log_probs, reference, doubles(1.0, 0.0))
    loss, parts = Rebel(eta=2.0, kl_coefficient=0.1).loss(batch, log_probs)
    # Log-ratios 0.5 and 0; KL 1 and -1; rewards 0.9 and 0.1.
    assert loss.item() == pytest.approx((0.5 / 2 - 0.8) ** 2)
    assert parts["kl"].tolist() == [1.0, -1.0]


def test_without_a_penalty_there_is_no_kl():
    mask = torch.ones(2, 1).bool()
    method = Rebel(eta=1.0, kl_coefficient=0.0)
    zeros = doubles([0.0], [0.0])
    loss, parts = method.loss(batch_of(mask, zeros, None, doubles(1.0, 0.0)), zeros)
    assert (loss.item(), set(parts)) == (1.0, {"loss"})
    assert not method.needs_reference


def test_an_empty_mask_yields_a_loss_that_back_propagates():
    log_probs = doubles([-1.0], [-2.0], grad=True)
    batch = batch_of(torch.zeros(2, 1).bool(), log_probs.detach(), None, doubles(1.0, 1.0))
    loss, _ = Rebel(eta=1.0, kl_coefficient=0.0).loss(batch, log_probs)
    assert loss.item() == 0
    loss.backward()
    assert (log_probs.grad == 0).all()


def test_a_failed_responses_reward_is_a_number():
    method = Rebel(eta=1.0, kl_coefficient=0.0)
    targets = method.targets(torch.tensor([[1.0, math.nan]]), torch.zeros(1), [], lambda own: own)
    assert targets["rewards"].tolist() == [1.0, 0.0]
