from itertools import combinations, permutations
from math import comb
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.evaluation.pass_at_k import ballot, majority_at_k, pass_at_k


# By hand, 1 - C(n-c, k) / C(n, k): of 4 samples with 1 right a pair misses it in 3 of 6 cases;
# of 5 with 2 right 3 of them are all wrong in 1 of 10; of 10 with 3 right 5 are all wrong in 21 of 252.
@pytest.mark.parametrize(
    ("n", "right", "k", "expected"),
    [
        (4, 1, 1, 1 / 4),
        (4, 1, 2, 1 / 2),
        (4, 1, 4, 1.0),
        (5, 2, 3, 9 / 10),
        (10, 3, 5, 1 - 21 / 252),
        (4, 0, 4, 0.0),
        (4, 4, 1, 1.0),
        (4, 3, 2, 1.0),  # two wrong ones cannot be drawn
        (1, 1, 1, 1.0),
        (1, 0, 1, 0.0),
    ],
)
def test_pass_at_k_by_hand(n, right, k, expected):
    assert pass_at_k([1.0] * right + [0.0] * (n - right), k) == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_published_estimator(case):
    n, right, k = case
    published = 1 - comb(n - right, k) / comb(n, k)
    assert pass_at_k([0.0] * (n - right) + [1.0] * right, k) == pytest.approx(published, abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_best_reward_averaged_over_all_subsets(rewards, data):
    k = data.draw(st.integers(1, len(rewards)))
    assert pass_at_k(rewards, k) == pytest.approx(mean(map(max, combinations(rewards, k))))


def test_pass_at_1_is_the_mean():
    assert pass_at_k([0.0, 1.0, 0.5, 0.0], 1) == pytest.approx(0.375)


def test_binomials_that_overflow_a_float_do_not_matter():
    estimate = pass_at_k([1.0] * 2 + [0.0] * 1998, 1000)
    assert estimate == pytest.approx(1 - (1000 * 999) / (2000 * 1999), rel=1e-9)


@pytest.mark.parametrize("k", [0, 3])
def test_more_than_there_are_samples_is_refused(k):
    with pytest.raises(ValueError, match="not between 1 and the 2 samples"):
        pass_at_k([1.0, 0.0], k)


@pytest.mark.parametrize(
    ("rewards", "answers", "expected"),
    [
        ([1, 1, 0, 0, 0], ["7", "7", "3", "4", "5"], 1.0),  # the most, not more than half
        ([1, 0, 0, 1, 0], ["7", "3", "3", "7", "3"], 0.0),
        ([1, 0], ["7", "3"], 0.5),  # a tie of two
        ([1, 1, 0, 0, 0, 0], ["7", "7", "3", "3", "4", "4"], 1 / 3),  # a tie of three
        ([1, 0, 0, 0], ["7", None, None, None], 1.0),  # no answer, no vote
        ([0, 0], [None, None], 0.0),
        ([0.5, 1.0], [None, None], 0.75),  # nobody votes: any sample
        ([1, 1, 0, 0, 0], ["7", "7.0", "3", "3", "1e1"], 0.5),  # numbers vote by value
        ([1, 1, 1, 0, 0], ["70", "7E+1", "70.00", "3", "3"], 1.0),
        ([0, 0, 1], ["-0", "0", "5"], 0.0),
        ([1, 0.5], ["a", "a"], 0.75),  # one answer with two rewards
    ],
)
def test_the_majority_by_hand(rewards, answers, expected):
    assert majority_at_k(rewards, answers) == pytest.approx(expected)


def test_every_reward_has_an_answer_or_none():
    with pytest.raises(ValueError, match="zip"):
        majority_at_k([1, 0], ["7"])


def test_the_order_of_the_samples_does_not_matter():
    samples = [(1.0, "7"), (1.0, "7.0"), (0.0, "3"), (0.0, "3"), (0.0, None)]
    accuracies = {majority_at_k(*zip(*order, strict=True)) for order in permutations(samples)}
    assert accuracies == {0.5}


@pytest.mark.parametrize(
    ("answer", "other_answer", "same"),
    [
        ("7", "7.0", True),
        ("1000", "1e3", True),
        ("0.1", ".10", True),
        (" 7 ", "7", True),
        ("x + 1", "x + 1 ", True),
        ("7", "7.0000000000000000000000000000000000000001", False),
        ("1" + "0" * 99, "1" + "0" * 98 + "1", False),  # no digit is rounded away
        ("1e999999", "2e999999", False),
        ("nan", "NaN", False),  # text
        ("Infinity", "inf", False),
        ("sNaN", "sNaN", True),
        (r"\frac12", "0.5", False),
    ],
)
def test_what_votes_together(answer, other_answer, same):
    assert (ballot(answer) == ballot(other_answer)) is same
    assert len({ballot(answer), ballot(other_answer)}) == (1 if same else 2)
