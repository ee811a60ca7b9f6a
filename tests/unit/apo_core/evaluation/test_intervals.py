from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, ttest_1samp

from apo_core.evaluation.intervals import (
    bootstrap_interval,
    cautious_effective_prompts,
    effective_prompts,
    exact_interval,
    expanded_tail,
    mean_interval,
    paired,
    paired_interval,
    resampled_means,
    resamples_for,
    student_interval,
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


# Means 0.25 and 0.75 with variance 1/12 (of P - 1) to a coin's 1/4: each share 1/3. 4 informative prompts, as
# many as there are: 4 (4 + 1) / (4/3 + 1) = 60/7.
@pytest.mark.parametrize(
    ("means", "samples", "effective"),
    [
        ([0.25, 0.75, 0.25, 0.75], 8, 60 / 7),
        ([0.5, 0.5, 0.5], 4, 3 * 4 / (3 / 4 + 1)),  # no variance: no less than four samples leave
        ([1, 1, 0, 0], 64, 4),  # all or nothing on each prompt
        ([0.0, 0.0, 0.0], 4, 3),
        ([0.5], 4, 1),  # one prompt says nothing of the variance
    ],
)
def test_cautious_effective_prompts_by_hand(means, samples, effective):
    assert cautious_effective_prompts(np.array(means, dtype=float), samples) == pytest.approx(effective)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 64))
def test_cautious_effective_prompts_are_between_prompts_and_samples(means, samples):
    effective_count = cautious_effective_prompts(np.array(means), samples)
    assert len(means) * (1 - 1e-9) <= effective_count <= len(means) * samples * (1 + 1e-9)


def test_many_prompts_have_wilsons_interval_and_few_the_exact_one():
    means = np.array([0.25, 0.75, 0.25, 0.75] * 25)  # 100 prompts of mean 1/2
    assert mean_interval(means, 4) == wilson_interval(0.5, effective_prompts(means, 4))
    fewer = means[:98]
    assert mean_interval(fewer, 4) == exact_interval(0.5, cautious_effective_prompts(fewer, 4))


def mean_of(prompts):
    """The interval of a mean of 0.3 on as many prompts."""
    return lambda **level: mean_interval(np.array([0.0, 0.0, 0.9] * (prompts // 3)), 1, **level)


@pytest.mark.parametrize(
    "method", [partial(wilson_interval, 0.3, 20), partial(exact_interval, 0.3, 20), mean_of(15), mean_of(300)]
)
def test_a_mean_with_a_smaller_alpha_has_a_wider_interval(method):
    low, high = method()
    lower, higher = method(alpha=0.01)
    assert lower < low < high < higher


@pytest.mark.parametrize("prompts", [1, 5, 30])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_intervals_of_a_share_are_scipys(prompts, share):
    solved = binomtest(round(share * prompts), prompts)
    for method, name in ((exact_interval, "exact"), (wilson_interval, "wilson")):
        theirs = solved.proportion_ci(0.95, method=name)
        assert method(round(share * prompts) / prompts, prompts) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("solved", [0.3, 2.5, 7.25])
def test_intervals_of_a_fractional_number_of_prompts_are_statsmodels(solved):
    """Rewards between 0 and 1, and effective prompts, are no whole numbers; scipy takes only those."""
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for method, name in ((exact_interval, "beta"), (wilson_interval, "wilson")):
        theirs = proportion.proportion_confint(solved, 8.5, alpha=0.02, method=name)
        assert method(solved / 8.5, 8.5, alpha=0.02) == pytest.approx(theirs)


def test_percentiles_are_scipys():
    """At the level that the expansion makes of 95%."""
    gains = np.random.default_rng(1).choice([-0.5, 0.0, 0.25, 1.0], size=100)
    ours = bootstrap_interval(gains, np.random.default_rng(0), alpha=0.05, resamples=20_000)
    level = 1 - 2 * expanded_tail(100)
    theirs = bootstrap(
        (gains,), np.mean, n_resamples=20_000, confidence_level=level, method="percentile", rng=0
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [4, 64])
@pytest.mark.parametrize("mean", [0.02, 0.5])
@pytest.mark.parametrize("prompts", [3, 10, 30])
def test_the_interval_of_few_prompts_covers_the_truth_as_often_as_it_says(prompts, mean, samples):
    """Prompts that are solved nearly always or never; Wilson's interval covers 0.5 to 0.93 of these."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        means = rng.binomial(samples, rng.beta(0.3 * mean, 0.3 * (1 - mean), size=prompts)) / samples
        low, high = mean_interval(means, samples)
        covered.append(low <= mean <= high)
    assert np.mean(covered) > 0.935


def test_a_clear_gain_excludes_zero():
    low, high = paired_interval(series([0.0] * 100), series([1.0] * 30 + [0.0] * 70), seed=0)
    # The normal approximation: 0.3 +- 1.96 sqrt(0.3 * 0.7 / 100) = 0.3 +- 0.09.
    assert (low, high) == pytest.approx((0.21, 0.39), abs=0.015)


def test_no_gain_includes_zero():
    low, high = paired_interval(series([0.0, 1.0] * 50), series([1.0, 0.0] * 50), seed=0)
    assert low < 0 < high
    assert low == pytest.approx(-high, abs=0.03)


def test_pairing_takes_the_prompts_difficulty_out():
    hard_and_easy = np.array([0.0] * 50 + [0.9] * 50)
    low, high = paired_interval(series(hard_and_easy), series(hard_and_easy + 0.1), seed=0)
    assert (low, high) == pytest.approx((0.1, 0.1))


def test_one_prompt_says_nothing():
    assert paired_interval(series([0.0]), series([1.0]), seed=0) == (-1.0, 1.0)


@pytest.mark.parametrize(("ups", "shown"), [(4, False), (5, False), (6, True)])
def test_six_prompts_have_to_differ_before_a_gain_is_shown(ups, shown):
    low, high = paired_interval(series([0.0] * 512), series([1.0] * ups + [0.0] * (512 - ups)), seed=0)
    assert (low > 0) is shown
    assert low < ups / 512 < high


def test_prompts_that_are_all_equal_do_not_show_that_others_are():
    low, high = paired_interval(series([0.5] * 512), series([0.5] * 512), seed=0)
    # Of a share of 1 - 0.025^(1/512) = 0.00718 none of 512 prompts is among them in 2.5% of cases.
    assert (low, high) == pytest.approx((-0.00718, 0.00718), rel=0.03)


def test_from_thirty_differing_prompts_the_bootstrap_decides():
    first, second = series([0.0] * 100), series([1.0] * 25 + [-1.0] * 4 + [0.0] * 71)
    assert paired_interval(first, second, seed=0) != boot(first, second)
    second.iloc[29] = 1.0
    assert paired_interval(first, second, seed=0) == boot(first, second)


def boot(first, second, alpha=0.05):
    rng = np.random.default_rng(0)
    return bootstrap_interval((second - first).to_numpy(), rng, alpha=alpha, resamples=resamples_for(alpha))


@pytest.mark.parametrize("differing", [20, 60])
def test_a_smaller_alpha_gives_a_wider_interval(differing):
    first, second = series([0.0] * 100), series([1.0] * differing + [0.0] * (100 - differing))
    low, high = paired_interval(first, second, seed=0)
    lower, higher = paired_interval(first, second, seed=0, alpha=0.001)
    assert lower < low < high < higher


@pytest.mark.parametrize(("alpha", "resamples"), [(0.05, 10_000), (0.02, 25_000), (1e-6, 50_000)])
def test_the_further_out_an_end_the_more_resamples(alpha, resamples):
    assert resamples_for(alpha) == resamples


def test_the_sign_of_a_loss_is_negative():
    assert paired_interval(series([1.0] * 30), series([0.5] * 30), seed=0) == (-0.5, -0.5)


def test_the_bootstrap_is_deterministic_by_seed():
    first, second = series(np.linspace(0, 1, 40)), series(np.linspace(0, 1, 40)[::-1])
    interval = paired_interval(first, second, seed=1)
    assert paired_interval(first, second, seed=1) == interval
    assert paired_interval(first, second, seed=2) != interval


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
    assert boot(series([0.0] * 10), series([1.0] + [0.0] * 9)) == (0.0, 0.4)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [30, 300])
def test_the_paired_interval_covers_the_truth_as_often_as_it_says(prompts):
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(2000):
        chances = rng.beta(1, 2, size=prompts)  # of the reference; its mean is 1/3
        first = rng.binomial(4, chances) / 4
        second = rng.binomial(4, (chances + 1) / 2) / 4  # half of what the reference lacks is gained: 1/3
        low, high = paired_interval(pd.Series(first), pd.Series(second), seed=seed, resamples=2000)
        covered.append(low <= 1 / 3 <= high)
    # Three standard deviations of a share of 0.95 among 2000 are 0.0146. Of 30 prompts 22 differ: sign flips.
    assert 0.95 - 0.0246 < np.mean(covered) < (0.99 if prompts == 30 else 0.95 + 0.0246)


@pytest.mark.parametrize(
    ("first", "second"), [(["a", "b"], ["a", "c"]), (["a", "b"], ["b", "a"]), (["a", "b"], ["a"]), ([], [])]
)
def test_different_prompts_are_refused(first, second):
    with pytest.raises(ValueError, match="not evaluated on the same prompts"):
        paired_interval(series([0.5] * len(first), first), series([0.5] * len(second), second), seed=0)


def test_two_policies_are_paired_on_the_prompts_that_both_have():
    first, second = paired(series([0.1, 0.2, 0.3], ["a", "b", "c"]), series([0.5, 0.6], ["c", "b"]))
    assert first.to_dict() == {"b": 0.2, "c": 0.3}
    assert second.to_dict() == {"b": 0.6, "c": 0.5}
    assert first.index.equals(second.index)


@pytest.mark.parametrize(("alpha", "students"), [(0.00199, True), (0.002, False), (0.0029, False)])
def test_fifty_resampled_means_beyond_an_end_are_enough(alpha, students):
    rng = np.random.default_rng(0)
    first, second = pd.Series(rng.random(40)), pd.Series(rng.random(40))
    expected = (
        student_interval(np.asarray(second - first), alpha=alpha) if students else boot(first, second, alpha)
    )
    assert paired_interval(first, second, seed=0, alpha=alpha) == expected


def test_an_end_that_no_resampling_reaches_is_students():
    rng = np.random.default_rng(0)
    first, second = pd.Series(rng.random(200)), pd.Series(rng.random(200))
    expected = ttest_1samp(second - first, 0).confidence_interval(1 - 1e-4)
    assert paired_interval(first, second, seed=0, alpha=1e-4) == pytest.approx(tuple(expected))
    # Where both can be computed they agree.
    bootstrap = paired_interval(first, second, seed=0, alpha=0.01)
    assert bootstrap == pytest.approx(student_interval(np.asarray(second - first), alpha=0.01), abs=0.003)
