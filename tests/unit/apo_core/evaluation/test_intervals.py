import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.evaluation.intervals import (
    effective_prompts,
    expanded_tail,
    paired,
    paired_bootstrap,
    resampled_means,
    wilson_interval,
)


def series(values, index=None):
    return pd.Series(list(values), index=index or [f"p{i}" for i in range(len(values))], dtype=float)


# 8 of 10, z^2 = 3.8415: centre (0.8 + 0.19207) / 1.38415 = 0.71674,
# half 1.96 / 1.38415 * sqrt(0.16 / 10 + 3.8415 / 400) = 1.41600 * 0.16001 = 0.22657.
# 0 of 10: centre = half = 0.19207 / 1.38415 = 0.13877.
@pytest.mark.parametrize(
    ("accuracy", "prompts", "low", "high"),
    [(0.8, 10, 0.4902, 0.9433), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0), (0.5, 1, 0.0546, 0.9454)],
)
def test_wilsons_interval_by_hand(accuracy, prompts, low, high):
    assert wilson_interval(accuracy, prompts) == pytest.approx((low, high), abs=1e-4)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_wilsons_interval_holds_the_mean_and_stays_within_zero_and_one(accuracy, prompts):
    low, high = wilson_interval(accuracy, prompts)
    assert 0 <= low <= accuracy + 1e-12
    assert accuracy - 1e-12 <= high <= 1


@pytest.mark.parametrize("accuracy", [0.05, 0.5, 0.9])
def test_wilsons_interval_covers_the_truth_as_often_as_it_says(accuracy):
    drawn = np.random.default_rng(0).binomial(100, accuracy, size=2000) / 100
    intervals = {share: wilson_interval(share, 100) for share in set(drawn.tolist())}
    covered = np.mean([intervals[share][0] <= accuracy <= intervals[share][1] for share in drawn.tolist()])
    # The discreteness of 100 flips moves the coverage by up to 0.02; chance by 0.01.
    assert covered == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("means", "samples", "effective"),
    [
        ([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1, 10),  # coins: the variance is mean (1 - mean)
        ([1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 4, 10),  # all or nothing on each prompt: four samples tell no more
        # A coin of mean 1/2 has variance 1/4, these have 1/16: each prompt is worth 4 coins.
        ([0.25, 0.75, 0.25, 0.75], 8, 16),
        ([0.25, 0.75, 0.25, 0.75], 2, 8),  # never more than its samples
        ([0.5, 0.5, 0.5], 4, 12),  # no variance at all
        ([0.0, 0.0, 0.0], 4, 3),  # nothing is known of how samples go together
        ([1.0, 1.0, 1.0], 4, 3),
    ],
)
def test_effective_prompts_by_hand(means, samples, effective):
    assert effective_prompts(np.array(means, dtype=float), samples) == pytest.approx(effective)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 64))
def test_a_prompt_is_worth_one_coin_at_least_and_its_samples_at_most(means, samples):
    effective_count = effective_prompts(np.array(means), samples)
    assert len(means) * (1 - 1e-9) <= effective_count <= len(means) * samples * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("alike", [True, False])
def test_the_interval_of_a_mean_over_samples_covers_the_truth_as_often_as_it_says(mean, alike):
    """For prompts of equal or of mixed difficulty, where a plain Wilson interval would cover 99% or more."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(4000):
        chances = np.full(200, mean) if alike else rng.beta(2 * mean, 2 * (1 - mean), size=200)
        means = rng.binomial(4, chances) / 4
        low, high = wilson_interval(float(means.mean()), effective_prompts(means, 4))
        covered.append(low <= mean <= high)
    # Three standard deviations of a share of 0.95 among 4000 are 0.0103.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.0203)


def test_a_clear_gain_excludes_zero():
    low, high = paired_bootstrap(series([0.0] * 100), series([1.0] * 30 + [0.0] * 70), seed=0)
    # The normal approximation: 0.3 +- 1.96 sqrt(0.3 * 0.7 / 100) = 0.3 +- 0.09.
    assert (low, high) == pytest.approx((0.21, 0.39), abs=0.015)


def test_no_gain_includes_zero():
    low, high = paired_bootstrap(series([0.0, 1.0] * 50), series([1.0, 0.0] * 50), seed=0)
    assert low < 0 < high
    assert low == pytest.approx(-high, abs=0.03)


def test_pairing_takes_the_prompts_difficulty_out():
    hard_and_easy = np.array([0.0] * 50 + [0.9] * 50)
    low, high = paired_bootstrap(series(hard_and_easy), series(hard_and_easy + 0.1), seed=0)
    assert (low, high) == pytest.approx((0.1, 0.1))


def test_two_prompts_by_hand():
    # The resampled means of gains 0 and 1 are 0, 0.5 and 1 with chances 1/4, 1/2 and 1/4.
    assert paired_bootstrap(series([0.0, 0.0]), series([0.0, 1.0]), seed=0) == (0.0, 1.0)


def test_one_prompt_says_nothing():
    assert paired_bootstrap(series([0.0]), series([1.0]), seed=0) == (-1.0, 1.0)


def test_the_sign_of_a_loss_is_negative():
    assert paired_bootstrap(series([1.0] * 20), series([0.5] * 20), seed=0) == (-0.5, -0.5)


def test_the_bootstrap_is_deterministic_by_seed():
    first, second = series(np.linspace(0, 1, 40)), series(np.linspace(0, 1, 40)[::-1])
    interval = paired_bootstrap(first, second, seed=1)
    assert paired_bootstrap(first, second, seed=1) == interval
    assert paired_bootstrap(first, second, seed=2) != interval


# Student's 0.025 quantiles are -12.706 at 1 degree of freedom, -2.262 at 9, -1.984 at 99; the normal
# distribution has 0.0086 below -2.262 sqrt(10/9) = -2.384, and 0.0231 below -1.984 sqrt(100/99) = -1.994.
@pytest.mark.parametrize(("prompts", "tail"), [(2, 0.0), (10, 0.0086), (100, 0.0231), (10**6, 0.0250)])
def test_the_fewer_the_prompts_the_further_out_the_percentiles(prompts, tail):
    assert expanded_tail(prompts) == pytest.approx(tail, abs=5e-5)


def test_resampled_means_have_the_bootstraps_mean_and_variance():
    gains = np.array([-0.5, 0.0, 0.0, 0.25, 1.0])
    means = resampled_means(gains, np.random.default_rng(0), 100_000)
    assert means.shape == (100_000,)
    assert means.mean() == pytest.approx(0.15, abs=0.003)
    assert means.var() == pytest.approx(gains.var() / 5, rel=0.02)
    assert set(np.unique(means)) <= {total / 20 for total in range(-10, 21)}


def test_few_prompts_widen_the_interval_by_hand():
    # Resampled sums are binomial(10, 0.1): at most 3 with chance 0.9872, so that 3 is the 0.975 quantile and
    # 4 the one at 1 - 0.0086; 0 with chance 0.35.
    assert paired_bootstrap(series([0.0] * 10), series([1.0] + [0.0] * 9), seed=0) == (0.0, 0.4)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [30, 300])
def test_the_bootstrap_covers_the_truth_as_often_as_it_says(prompts):
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(2000):
        chances = rng.beta(1, 2, size=prompts)  # of the reference; its mean is 1/3
        first = rng.binomial(4, chances) / 4
        second = rng.binomial(4, (chances + 1) / 2) / 4  # half of what the reference lacks is gained: 1/3
        low, high = paired_bootstrap(pd.Series(first), pd.Series(second), seed=seed, resamples=1000)
        covered.append(low <= 1 / 3 <= high)
    # Three standard deviations of a share of 0.95 among 2000 are 0.0146.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.0246)


@pytest.mark.parametrize(
    ("first", "second"), [(["a", "b"], ["a", "c"]), (["a", "b"], ["b", "a"]), (["a", "b"], ["a"]), ([], [])]
)
def test_different_prompts_are_refused(first, second):
    with pytest.raises(ValueError, match="not evaluated on the same prompts"):
        paired_bootstrap(series([0.5] * len(first), first), series([0.5] * len(second), second), seed=0)


def test_two_policies_are_paired_on_the_prompts_that_both_have():
    first, second = paired(series([0.1, 0.2, 0.3], ["a", "b", "c"]), series([0.5, 0.6], ["c", "b"]))
    assert first.to_dict() == {"b": 0.2, "c": 0.3}
    assert second.to_dict() == {"b": 0.6, "c": 0.5}
    assert first.index.equals(second.index)
