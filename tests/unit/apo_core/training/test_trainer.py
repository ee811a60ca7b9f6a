import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.training.trainer import batch_at


def stream(steps, **batch_arguments):
    return [index for step in range(steps) for index in batch_at(step, **batch_arguments)]


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 1000))
def test_each_prompt_is_seen_once_an_epoch_in_full_batches(count, batch_size, seed):
    steps = -(-3 * count // batch_size)
    batches = [batch_at(step, count=count, batch_size=batch_size, seed=seed) for step in range(steps)]
    assert all(len(batch) == batch_size for batch in batches)
    seen = [index for batch in batches for index in batch]
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_batch_larger_than_the_set_holds_every_prompt():
    batch = batch_at(0, count=3, batch_size=8, seed=0)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]
    assert len(set(batch[6:])) == 2


@pytest.mark.parametrize("step", [0, 1, 7, 1000])
def test_a_step_knows_its_batch_without_the_steps_before(step):
    batch_arguments = {"count": 50, "batch_size": 8, "seed": 3}
    assert batch_at(step, **batch_arguments) == batch_at(step, **batch_arguments)
    assert stream(1001, **batch_arguments)[step * 8 : step * 8 + 8] == batch_at(step, **batch_arguments)


def test_epochs_and_seeds_are_ordered_differently():
    first, second = (batch_at(step, count=50, batch_size=50, seed=0) for step in (0, 1))
    other = batch_at(0, count=50, batch_size=50, seed=1)
    assert first != second != other != first
    assert first != sorted(first)


def test_indices_are_plain_integers():
    assert {type(index) for index in batch_at(0, count=5, batch_size=5, seed=0)} == {int}
