import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.evaluation import paired_bootstrap, per_prompt, summarise, wilson_interval


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


def test_several_samples_a_prompt_never_make_the_interval_too_narrow():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        chances = rng.beta(1, 1, size=60)  # prompts differ in difficulty; the mean is 0.5
        low, high = wilson_interval(float(rng.binomial(4, chances).mean() / 4), 60)
        covered.append(low <= 0.5 <= high)
    assert np.mean(covered) > 0.95


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


def test_the_sign_of_a_loss_is_negative():
    low, high = paired_bootstrap(series([1.0] * 20), series([0.5] * 20), seed=0)
    assert (low, high) == (-0.5, -0.5)


def test_the_bootstrap_is_deterministic_by_seed():
    first, second = series(np.linspace(0, 1, 40)), series(np.linspace(0, 1, 40)[::-1])
    one = paired_bootstrap(first, second, seed=1)
    assert paired_bootstrap(first, second, seed=1) == one
    assert paired_bootstrap(first, second, seed=2) != one


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(200):
        gains = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=80)  # mean 0.2
        low, high = paired_bootstrap(series([0.0] * 80), series(gains), seed=seed, resamples=500)
        covered.append(low <= 0.2 <= high)
    # The standard deviation of a share of 0.95 among 200 is 0.015; a percentile interval is a bit narrow.
    assert 0.88 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(
    ("first", "second"), [(["a", "b"], ["a", "c"]), (["a", "b"], ["b", "a"]), (["a", "b"], ["a"]), ([], [])]
)
def test_different_prompts_are_refused(first, second):
    with pytest.raises(ValueError, match="not evaluated on the same prompts"):
        paired_bootstrap(series([0.5] * len(first), first), series([0.5] * len(second), second), seed=0)


@pytest.fixture
def rows():
    """Two prompts, one greedy response and two samples of each model."""
    columns = ["policy", "prompt_id", "sample_index", "reward", "finish_reason", "log_ratio"]
    nan = math.nan
    return pd.DataFrame(
        [
            ("reference", "b", -1, 0.0, "stop", nan),
            ("reference", "b", 0, 0.0, "stop", nan),
            ("reference", "b", 1, 0.0, "length", nan),
            ("reference", "a", -1, 1.0, "stop", nan),
            ("reference", "a", 0, 1.0, "stop", nan),
            ("reference", "a", 1, 0.0, "stop", nan),
            ("policy", "b", -1, 1.0, "length", 90.0),
            ("policy", "b", 0, 1.0, "stop", 0.5),
            ("policy", "b", 1, 0.0, "stop", 1.5),
            ("policy", "a", -1, 1.0, "stop", 90.0),
            ("policy", "a", 0, 1.0, "stop", -1.0),
            ("policy", "a", 1, 1.0, "stop", 3.0),
        ],
        columns=columns,
    )


def test_accuracy_is_the_mean_over_a_prompts_samples_without_the_greedy_one(rows):
    assert per_prompt(rows, "reference").to_dict() == {"a": 0.5, "b": 0.0}
    assert per_prompt(rows, "policy").to_dict() == {"a": 1.0, "b": 0.5}


def test_a_summary_by_hand(rows):
    assert summarise(rows, seed=0) == {
        "prompts": 2,
        "samples": 2,
        "reference": {
            "pass@1": 0.25,
            "ci95": list(wilson_interval(0.25, 2)),
            "greedy": 0.5,
            "truncated": 0.25,
            "verifier_errors": 0,
        },
        "policy": {
            "pass@1": 0.75,
            "ci95": list(wilson_interval(0.75, 2)),
            "greedy": 1.0,
            "truncated": 0.0,
            "verifier_errors": 0,
        },
        "gain": 0.5,
        "gain_ci95": [0.5, 0.5],  # both prompts gain a half
        "kl": 1.0,  # (0.5 + 1.5 - 1 + 3) / 4, greedy rows left out
    }


def test_the_order_of_the_rows_does_not_matter(rows):
    assert summarise(rows.sample(frac=1, random_state=0), seed=0) == summarise(rows, seed=0)


def test_models_on_different_prompts_are_not_summarised(rows):
    with pytest.raises(ValueError, match="same prompts"):
        summarise(rows[(rows["policy"] == "policy") | (rows["prompt_id"] == "a")], seed=0)


def test_responses_without_a_reward_are_no_part_of_a_mean_and_are_counted(rows):
    failed = (rows["policy"] == "policy") & (rows["prompt_id"] == "b") & (rows["sample_index"] == 1)
    found = summarise(rows.assign(reward=rows["reward"].mask(failed)), seed=0)
    assert found["policy"]["pass@1"] == 1.0  # of the one that is left on b, and of both on a
    assert (found["policy"]["verifier_errors"], found["reference"]["verifier_errors"]) == (1, 0)
    assert (found["prompts"], found["gain"]) == (2, 0.75)


def test_a_prompt_without_any_reward_of_one_policy_is_not_compared(rows):
    failed = (rows["policy"] == "policy") & (rows["prompt_id"] == "b")
    found = summarise(rows.assign(reward=rows["reward"].mask(failed)), seed=0)
    assert found["policy"]["ci95"] == list(wilson_interval(1.0, 1))
    assert (found["prompts"], found["gain"], found["gain_ci95"]) == (1, 0.5, [0.5, 0.5])  # on a alone
