import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from apo_core.evaluation.sign_flips import fewest_prompts, sign_flip_interval, sign_flip_p_value


def interval(differences, prompts, alpha=0.05):
    rng = np.random.default_rng(0)
    return sign_flip_interval(np.array(differences), prompts, rng, alpha=alpha, resamples=10_000)


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([], 1.0),
        ([1.0] * 4, 1 / 16),
        ([0.25, 0.5, 0.25], 1 / 8),
        ([1.0, 1.0, -1.0], 4 / 8),  # three flips give 1, one gives 3
        ([0.5, -0.25], 2 / 4),  # 0.25 or more: 0.75 and 0.25
        ([-1.0] * 3, 1.0),
    ],
)
def test_p_values_by_hand(differences, p_value):
    assert sign_flip_p_value(np.array(differences)) == p_value


@pytest.mark.parametrize("seed", range(3))
def test_p_values_are_scipys(seed):
    differences = np.random.default_rng(seed).choice([-0.75, -0.25, 0.25, 0.5, 1.0], size=11)
    test = permutation_test(
        (differences,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert sign_flip_p_value(differences) == pytest.approx(test.pvalue)


@pytest.mark.parametrize(("ups", "downs"), [(20, 9), (15, 14), (6, 0)])
def test_of_right_and_wrong_answers_it_is_the_exact_test_of_mcnemar(ups, downs):
    p_value = sign_flip_p_value(np.array([1.0] * ups + [-1.0] * downs))
    assert p_value == pytest.approx(binomtest(ups, ups + downs, alternative="greater").pvalue)
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    assert min(1, 2 * p_value) == pytest.approx(tables.mcnemar([[9, ups], [downs, 9]]).pvalue)


@pytest.mark.parametrize(("tail", "prompts"), [(0.025, 6), (1 / 64, 6), (1 / 65, 7), (0.5, 1)])
def test_so_many_prompts_are_needed(tail, prompts):
    assert fewest_prompts(tail) == prompts
    assert sign_flip_p_value(np.ones(prompts)) <= tail < sign_flip_p_value(np.ones(prompts - 1))


@pytest.mark.parametrize("alpha", [0.05, 0.005])
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("samples", [3, 4, 5, 10])
def test_the_interval_says_what_the_test_says(seed, alpha, samples):
    rng = np.random.default_rng(seed)
    won = rng.choice([-2, 1, 2, 3], size=rng.integers(4, 25))
    differences = won / samples  # fifths and tenths are rounded
    low, high = interval(differences, 100, alpha)
    assert (low > 0) is bool(sign_flip_p_value(differences) <= alpha / 2)
    assert (high < 0) is bool(sign_flip_p_value(-differences) <= alpha / 2)


def test_losses_mirror_gains():
    low, high = interval([0.25, 0.5, 1.0, 0.75, 1.0, 0.5, -0.25], 50)
    mirrored = interval([-0.25, -0.5, -1.0, -0.75, -1.0, -0.5, 0.25], 50)
    assert mirrored == pytest.approx((-high, -low), abs=0.01)


def test_ends_by_hand():
    # All of ten prompts gain 1, and so do the means of all subsets except the empty one (1 in 1024): the
    # lower end is the share that differs, beta(10, 1), at (0.025 - 1/1024) / (1 - 1/1024): its tenth root.
    assert interval([1.0] * 10, 10) == pytest.approx(
        (((0.025 - 1 / 1024) / (1 - 1 / 1024)) ** 0.1, 1), abs=0.01
    )


def test_the_end_above_0_by_hand_where_chance_often_does_as_well():
    # Two prompts gain 1; a quarter of the subsets are empty. The share that differs is beta(2, 1), whose
    # quantiles are square roots: at (0.3 - 1/4) / (1 - 1/4).
    assert interval([1.0] * 2, 2, alpha=0.6)[0] == pytest.approx((0.05 / 0.75) ** 0.5, abs=0.01)


def test_the_end_below_0_by_hand():
    # Four of five prompts gain 1: only the empty subset, one in 16, shows no gain, and may stand for -1 on a
    # share of beta(5, 1). The end is at 0.025 x 16 = 0.4 from below, so at 0.6 of that: its fifth root.
    assert interval([1.0] * 4, 5)[0] == pytest.approx(-(0.6**0.2), abs=0.01)


def test_a_p_value_of_exactly_half_of_alpha_shows_a_gain():
    assert sign_flip_p_value(np.ones(6)) == 1 / 64
    assert interval([1.0] * 6, 20, alpha=2 / 64)[0] > 0


def test_where_no_resampled_subset_loses_the_end_is_0():
    chosen = np.random.default_rng(2)  # its first number is below 1/2: the one subset is not empty
    assert sign_flip_interval(np.ones(1), 1, chosen, alpha=0.05, resamples=1)[0] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [5, 20, 100])
@pytest.mark.parametrize("differing", [0.02, 0.2])
def test_it_covers_the_truth_as_often_as_it_says(prompts, differing):
    """Four of five prompts that differ gain 1, and one loses 1; the bootstrap covers 0.2 to 0.95 of these."""
    rng = np.random.default_rng(0)
    gain = differing * (0.8 - 0.2)
    covered = []
    for _ in range(400):
        gains = rng.choice(
            [1.0, 0.0, -1.0], p=[0.8 * differing, 1 - differing, 0.2 * differing], size=prompts
        )
        low, high = interval(gains[gains != 0], prompts)
        covered.append(low <= gain <= high)
    assert np.mean(covered) > 0.935
