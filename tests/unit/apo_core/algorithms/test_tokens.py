import torch

from apo_core.algorithms.tokens import lay_out, sum_tokens

NUMBERS = torch.tensor([[1.0, 2.0, float("nan")], [4.0, 8.0, 16.0], [float("inf"), 1.0, 1.0]])
MASK = torch.tensor([[True, True, False], [True, False, True], [False, False, False]])


def test_sums_are_of_the_masked_numbers_alone():
    assert sum_tokens(NUMBERS, MASK).tolist() == [3.0, 20.0, 0.0]


def test_a_sums_gradient_is_one_where_the_mask_is_true():
    numbers = NUMBERS.clone().requires_grad_()
    (sum_tokens(numbers, MASK) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert numbers.grad.tolist() == [[1.0, 1.0, 0.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]


def test_an_empty_mask_sums_to_zeros_that_back_propagate():
    numbers = NUMBERS.clone().requires_grad_()
    sums = sum_tokens(numbers, torch.zeros_like(MASK))
    assert sums.tolist() == [0.0, 0.0, 0.0]
    sums.sum().backward()
    assert (numbers.grad == 0).all()


def test_numbers_move_to_the_places_of_another_mask_in_order():
    wanted = torch.tensor([[False, False, True, True], [True, True, False, False], [False] * 4])
    found = lay_out(NUMBERS, MASK, wanted)
    assert found.tolist() == [[0.0, 0.0, 1.0, 2.0], [4.0, 16.0, 0.0, 0.0], [0.0] * 4]
