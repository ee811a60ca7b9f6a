import math

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms.ppo import (
    Ppo,
    generalised_advantages,
    token_rewards,
    value_loss,
    whitened,
)

METHOD = Ppo(
    kl_coefficient=0.1,
    clip=0.2,
    value_clip=0.5,
    value_coefficient=2.0,
    gamma=0.9,
    lam=0.5,
    whiten=False,
    critic_rate=1e-3,
    epochs=1,
    minibatches=1,
)


def doubles(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


MASK = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])


def gather_single_rank(own):
    return own


def test_the_reward_is_on_the_last_token_and_the_penalty_on_all():
    kl = doubles([1.0, -2.0, 3.0], [4.0, 5.0, 99.0], [99.0, 99.0, 99.0])
    penalised = token_rewards(doubles(1.0, 0.5, 7.0), kl, MASK, kl_coefficient=0.1)
    torch.testing.assert_close(penalised, doubles([-0.1, 0.2, 0.7], [-0.4, 0.0, 0.0], [0.0, 0.0, 0.0]))
    bare = token_rewards(doubles(1.0, 0.5, 7.0), None, MASK, kl_coefficient=0.1)
    assert bare.tolist() == [[0, 0, 1], [0, 0.5, 0], [0, 0, 0]]


def test_advantages_by_hand():
    rewards, values = doubles([0.0, 0.0, 1.0]), doubles([0.5, 0.25, 0.75])
    # Deltas: 0.9/4 - 1/2 = -0.275, 0.9 * 3/4 - 1/4 = 0.425, 1 - 3/4 = 0.25; gamma lambda 0.45.
    last, middle = 0.25, 0.425 + 0.45 * 0.25
    advantages = generalised_advantages(rewards, values, torch.ones(1, 3).bool(), gamma=0.9, lam=0.5)
    torch.testing.assert_close(advantages, doubles([-0.275 + 0.45 * middle, middle, last]))


@pytest.mark.parametrize("seed", range(10))
def test_advantages_equal_their_sum_written_out(seed):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    advantages = generalised_advantages(rewards, values, MASK, gamma=0.9, lam=0.8)
    for row, length in enumerate((3, 2, 0)):
        r, v = rewards[row].tolist(), [*values[row, :length].tolist(), 0.0]
        deltas = [r[t] + 0.9 * v[t + 1] - v[t] for t in range(length)]
        for t in range(3):
            expected = sum(0.72 ** (k - t) * deltas[k] for k in range(t, length))
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-12)


def test_with_lambda_1_returns_are_discounted_sums():
    rewards, values = doubles([0.2, 0.3, 1.0]), doubles([0.5, 0.1, 0.9])
    advantages = generalised_advantages(rewards, values, torch.ones(1, 3).bool(), gamma=0.5, lam=1.0)
    torch.testing.assert_close(advantages + values, doubles([0.2 + 0.15 + 0.25, 0.3 + 0.5, 1.0]))


def test_whitened_numbers_have_mean_0_and_deviation_1_over_all_ranks():
    numbers = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    (whole,) = whitened([numbers], [micro_batch(mask)], gather_single_rank)
    assert whole[mask].mean().item() == pytest.approx(0, abs=1e-12)
    assert whole[mask].var(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    # Two ranks with half of the rows each whiten to the same numbers.
    halves = [(numbers[:2], mask[:2]), (numbers[2:], mask[2:])]
    moments = []
    for part, where in halves:
        whitened([part], [micro_batch(where)], lambda own: moments.append(own[0]) or own)
    for rank, (part, where) in enumerate(halves):
        (whitened_part,) = whitened([part], [micro_batch(where)], lambda _: moments)
        torch.testing.assert_close(whitened_part, whole[2 * rank : 2 * rank + 2], atol=1e-9, rtol=0)


def test_whitening_does_not_depend_on_how_micro_batches_are_cut():
    numbers = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    (whole,) = whitened([numbers], [micro_batch(mask)], gather_single_rank)
    cuts = [[3, 1], [0], [2]]
    batches = [micro_batch(mask[rows], rows=rows) for rows in cuts]
    for rows, whitened_rows in zip(
        cuts, whitened([numbers[rows] for rows in cuts], batches, gather_single_rank), strict=True
    ):
        assert torch.equal(whitened_rows, whole[rows])


def test_whitening_equal_numbers_is_no_division_by_zero():
    (whitened_row,) = whitened(
        [doubles([2.0, 2.0])], [micro_batch(torch.ones(1, 2).bool())], gather_single_rank
    )
    assert whitened_row.tolist() == [[0.0, 0.0]]


def test_the_value_loss_is_the_worse_of_plain_and_clipped():
    values, before, returns = (
        doubles([1.0, 0.2, 0.0], grad=True),
        doubles([0.0, 0.0, 0.0]),
        doubles([2.0, 1.0, 9.0]),
    )
    mask = torch.tensor([[True, True, False]])
    # 1 is clipped to 0.5: (0.5 - 2)^2 = 2.25 is above 1; 0.2 is within: 0.64.
    loss, parts = value_loss(values, before, returns, mask, doubles(2.0), torch.tensor([True]), clip=0.5)
    assert loss.item() == pytest.approx(0.5 * (2.25 + 0.64) / 2)
    assert parts["value_loss"].tolist() == pytest.approx([loss.item()])
    loss.backward()
    torch.testing.assert_close(values.grad, doubles([0.0, -0.8 / 2, 0.0]))


def targets_of(method, rewards, mask=MASK):
    zeros = torch.zeros(mask.shape)
    batch = micro_batch(
        mask,
        scored=~torch.tensor(rewards).isnan(),
        old_log_probs=zeros - 1,
        reference_log_probs=zeros - 1.5,
        old_values=torch.where(mask, 0.25, 0.0),
    )
    targets = method.targets(torch.tensor(rewards)[:, None], torch.zeros(3), [batch], gather_single_rank)
    return {name: numbers[0] for name, numbers in targets.items()}


def test_targets_by_hand():
    targets = targets_of(METHOD, [1.0, 0.0, 0.0])
    # KL 1/2 per token costs 0.05. Second row: deltas -0.05 + 0.9/4 - 1/4 = -0.075 and -0.05 - 1/4 = -0.3.
    assert targets["advantages"][1].tolist() == pytest.approx([-0.075 - 0.45 * 0.3, -0.3, 0.0])
    torch.testing.assert_close(targets["returns"][MASK], targets["advantages"][MASK] + 0.25)


def test_targets_do_not_depend_on_where_in_the_row_a_response_stands():
    wide = torch.nn.functional.pad(MASK, (2, 1))
    left, right = (targets_of(METHOD, [1.0, 0.0, 0.0], mask) for mask in (MASK, wide))
    for name, numbers in left.items():
        assert torch.equal(numbers[MASK], right[name][wide])


def test_a_failed_response_is_no_part_of_the_mean_that_is_taken_away():
    whitening = Ppo(**{**vars(METHOD), "whiten": True})
    advantages = targets_of(whitening, [1.0, math.nan, 0.0])["advantages"]
    assert advantages[0].mean().item() == pytest.approx(0, abs=1e-6)


def batch_of(log_probs, scored=(True, True, True), mask=MASK):
    generator = torch.Generator().manual_seed(5)
    numbers = [torch.randn(3, 3, generator=generator, dtype=torch.float64) for _ in range(4)]
    return micro_batch(
        mask,
        scored=torch.tensor(scored),
        old_log_probs=log_probs.detach() + 0.3 * numbers[0],
        reference_log_probs=log_probs.detach() - 1,
        old_values=numbers[3],
        targets={"advantages": numbers[1], "returns": numbers[2]},
        mean_length=5 / 3,
        max_new_tokens=9,
    )


def parameters():
    generator = torch.Generator().manual_seed(6)
    return [torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]


def test_the_loss_equals_a_loop_over_all_tokens():
    log_probs, values = parameters()
    batch = batch_of(log_probs)
    loss, parts = METHOD.loss(batch, log_probs, values)
    policy = value = 0.0
    for i, t in MASK.nonzero().tolist():
        ratio = math.exp(float(log_probs.detach()[i, t] - batch.old_log_probs[i, t]))
        a, r = (float(batch.targets[name][i, t]) for name in ("advantages", "returns"))
        v0, v = float(batch.old_values[i, t]), float(values.detach()[i, t])
        policy -= min(ratio * a, min(max(ratio, 0.8), 1.2) * a) / 5
        value += 0.5 * max((v - r) ** 2, (min(max(v, v0 - 0.5), v0 + 0.5) - r) ** 2) / 5
    assert loss.item() == pytest.approx(policy + 2 * value, rel=1e-6)
    assert parts["loss"].mean().item() == pytest.approx(loss.item(), rel=1e-6)
    assert parts["value_loss"].mean().item() == pytest.approx(value, rel=1e-6)
    expected = [(batch.old_log_probs - batch.reference_log_probs)[i][MASK[i]].sum().item() for i in range(3)]
    assert parts["kl"].tolist() == pytest.approx(expected)


def test_a_failed_response_moves_neither_policy_nor_critic():
    log_probs, values = parameters()
    METHOD.loss(batch_of(log_probs, scored=(True, False, True)), log_probs, values)[0].backward()
    assert (log_probs.grad[1] == 0).all() and (values.grad[1] == 0).all()
    assert (log_probs.grad[0] != 0).any() and (values.grad[0] != 0).any()


def test_an_empty_mask_yields_a_zero_that_back_propagates():
    log_probs, values = parameters()
    loss, _ = METHOD.loss(batch_of(log_probs, mask=torch.zeros_like(MASK)), log_probs, values)
    assert loss.item() == 0
    loss.backward()
    assert (log_probs.grad == 0).all() and (values.grad == 0).all()


def test_gradcheck_agrees_with_finite_differences():
    batch = batch_of(parameters()[0])

    def loss(log_probs, values):
        return METHOD.loss(batch, log_probs, values)[0]

    assert torch.autograd.gradcheck(loss, parameters())
