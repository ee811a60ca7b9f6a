import math

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms.oapl import Oapl, group_values
from apo_core.values.optimal import optimal_value

METHOD = Oapl(responses=2, beta1=0.5, beta2=0.1, sync_every=3)


def doubles(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


def test_values_are_those_of_the_rewards_that_a_group_has():
    # ln((1 + e^2) / 2) / 2 of one right and one wrong response.
    half = 0.5 * math.log((1 + math.e**2) / 2)
    rewards = torch.tensor([[1.0, 0.0, math.nan], [1.0, 1.0, 1.0], [math.nan, math.nan, 1.0], [math.nan] * 3])
    assert group_values(rewards, beta1=0.5).tolist() == pytest.approx([half, 1.0, 1.0, 0.0])
    whole = torch.tensor([[0.2, 0.9, 0.4]])
    assert group_values(whole, beta1=0.3).item() == pytest.approx(optimal_value(whole, 0.3).item())


def test_a_response_without_a_reward_learns_nothing():
    targets = METHOD.targets(torch.tensor([[1.0, math.nan]]), torch.zeros(1), [], lambda own: own)
    assert targets["rewards"].tolist() == targets["v_star"].tolist() == [1.0, 1.0]


def batch_of(mask):
    return micro_batch(
        mask,
        scored=torch.tensor([True, True, False]),
        reference_log_probs=doubles([-2.0, -1.0], [-1.0, 77.0], [-1.0, -1.0]),
        targets={"rewards": doubles(1.0, 0.0, 5.0), "v_star": doubles(0.5, 0.25, 0.5)},
    )


MASK = torch.tensor([[True, True], [True, False], [True, True]])


def test_the_regression_is_against_the_copy():
    log_probs = doubles([-1.0, -1.0], [-0.5, -9.0], [-3.0, -3.0], grad=True)
    loss, parts = METHOD.loss(batch_of(MASK), log_probs)
    # Log-ratios 1 and 0.5, advantages 0.5 and -0.25: residuals -0.4 and 0.3.
    assert parts["loss"].tolist() == pytest.approx([0.16, 0.09, 0.0])
    assert loss.item() == pytest.approx(0.25 / 3)
    assert parts["kl"].tolist() == pytest.approx([-1.0, -0.5, 4.0])  # of the copy to the policy
    loss.backward()
    expected = doubles([-0.08 / 3, -0.08 / 3], [0.06 / 3, 0.0], [0.0, 0.0])
    torch.testing.assert_close(log_probs.grad, expected)


def test_gradcheck_agrees_with_finite_differences():
    log_probs = doubles([-1.0, -1.0], [-0.5, -9.0], [-3.0, -3.0], grad=True)
    assert torch.autograd.gradcheck(lambda inputs: METHOD.loss(batch_of(MASK), inputs)[0], [log_probs])


def test_an_empty_mask_yields_a_loss_that_back_propagates():
    log_probs = doubles([-1.0, -1.0], [-0.5, -9.0], [-3.0, -3.0], grad=True)
    METHOD.loss(batch_of(torch.zeros_like(MASK)), log_probs)[0].backward()
    assert (log_probs.grad == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_a_loop_over_responses(seed):
    log_probs = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    batch = batch_of(MASK)
    written = 0.0
    for i in range(2):
        ratio = sum(
            float(log_probs[i, t]) - float(batch.reference_log_probs[i, t]) for t in range(2) if MASK[i, t]
        )
        written += (0.1 * ratio - float(batch.targets["rewards"][i] - batch.targets["v_star"][i])) ** 2 / 3
    assert METHOD.loss(batch, log_probs)[0].item() == pytest.approx(written, rel=1e-12)
