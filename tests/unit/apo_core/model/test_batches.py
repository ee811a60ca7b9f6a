import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.model.batches import micro_batches


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
