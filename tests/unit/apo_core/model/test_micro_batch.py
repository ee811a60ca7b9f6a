import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apo_core.model import micro_batch
from apo_core.model.micro_batch import at_tokens, micro_batches, pad_responses, sum_tokens


def test_rows_of_like_length_go_together_the_longest_first():
    assert micro_batches([3, 10, 4, 9, 3], max_tokens=20) == [[1, 3], [2, 0, 4]]


def test_a_row_above_the_budget_is_alone():
    assert micro_batches([5, 30, 6], max_tokens=12) == [[1], [2, 0]]


def test_more_are_made_where_other_ranks_have_more():
    assert micro_batches([2, 2, 2, 2], max_tokens=99, at_least=3) == [[0], [1], [2, 3]]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.integers(1, 200),
    st.integers(1, 40),
)
def test_every_row_is_in_one_of_enough_that_fit(lengths, max_tokens, at_least):
    at_least = min(at_least, len(lengths))
    cut = micro_batches(lengths, max_tokens=max_tokens, at_least=at_least)
    assert sorted(row for batch in cut for row in batch) == list(range(len(lengths)))
    assert len(cut) >= at_least
    for batch in cut:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens


@pytest.mark.parametrize("at_least", [1, 4])
def test_padding_is_little(at_least):
    lengths = list(range(1, 101))
    cut = micro_batches(lengths, max_tokens=400, at_least=at_least)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in cut)
    assert padded < 1.15 * sum(lengths)


def test_rollouts_are_padded_on_the_right():
    batch = pad_responses([[5, 6], [7]], [[8], [9, 1, 2]], pad_id=0)
    assert batch.token_ids.tolist() == [[5, 6, 8, 0], [7, 9, 1, 2]]
    yes, no = True, False
    assert batch.attended.tolist() == [[yes, yes, yes, no], [yes, yes, yes, yes]]
    assert batch.mask.tolist() == [[no, yes, no], [yes, yes, yes]]


def test_a_pad_token_inside_a_response_counts():
    batch = pad_responses([[5]], [[0, 1]], pad_id=0)
    assert batch.attended.tolist() == [[True, True, True]]
    assert batch.mask.tolist() == [[True, True]]


def test_prompts_and_responses_must_pair_up():
    with pytest.raises(ValueError, match="zip"):
        pad_responses([[1], [2]], [[3]], pad_id=0)


NUMBERS = torch.tensor([[1.0, 2.0, float("nan")], [4.0, 8.0, 16.0], [float("inf"), 1.0, 1.0]])
MASK = torch.tensor([[True, True, False], [True, False, True], [False, False, False]])


# On a processor, and on a GPU.
both_sums = pytest.mark.parametrize("add_up", [sum_tokens, micro_batch._sum_at_once])


@both_sums
def test_sums_are_of_the_masked_numbers_alone(add_up):
    assert add_up(NUMBERS, MASK).tolist() == [3.0, 20.0, 0.0]


@both_sums
def test_a_sums_gradient_is_one_where_the_mask_is_true(add_up):
    numbers = NUMBERS.clone().requires_grad_()
    (add_up(numbers, MASK) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert numbers.grad.tolist() == [[1.0, 1.0, 0.0], [2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]


@both_sums
def test_an_empty_mask_sums_to_zeros_that_back_propagate(add_up):
    numbers = NUMBERS.clone().requires_grad_()
    sums = add_up(numbers, torch.zeros_like(MASK))
    assert sums.tolist() == [0.0, 0.0, 0.0]
    sums.sum().backward()
    assert (numbers.grad == 0).all()


def test_on_a_processor_the_terms_are_added_in_order():
    generator = torch.Generator().manual_seed(0)
    numbers = -torch.rand(20, 300, generator=generator)
    mask = torch.rand(20, 300, generator=generator) < 0.7
    expected = []
    for row, chosen in zip(numbers, mask, strict=True):
        total = torch.zeros(())
        for number in row[chosen]:
            total = total + number
        expected.append(total)
    assert torch.equal(sum_tokens(numbers, mask), torch.stack(expected))


def test_numbers_per_token_are_laid_out_as_their_tokens_are():
    batch = pad_responses([[3, 4], [5]], [[6, 7], [8, 9, 1]], pad_id=0)
    laid_out = at_tokens([[-1.0, -2.0], [-3.0, -4.0, -5.0]], batch.mask)
    assert laid_out.tolist() == [[0.0, -1.0, -2.0], [-3.0, -4.0, -5.0]]
    assert batch.token_ids[:, 1:][batch.mask].tolist() == [6, 7, 8, 9, 1]


@pytest.mark.parametrize("numbers", [[[-1.0], [-2.0]], [[-1.0, -2.0], [-3.0, -4.0, -5.0, -6.0]]])
def test_too_few_or_too_many_numbers_are_refused(numbers):
    batch = pad_responses([[3, 4], [5]], [[6, 7], [8, 9, 1]], pad_id=0)
    with pytest.raises((RuntimeError, IndexError)):
        at_tokens(numbers, batch.mask)
