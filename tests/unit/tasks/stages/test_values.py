"""The value table: what the samples prove of a prompt, which are left out, and what the guard expects."""

import numpy as np
import pandas as pd
import pytest

from apo_core.config.file import load_params
from apo_core.values.pooled import Prior
from apo_core.values.selection import dropped_but_solvable
from tasks.stages.values import Priors, expected_reward_limits, fit_priors, value_table

WIDE = Priors(success=Prior(1.0, 1.0), reward=Prior(1.0, 1.0), cautious=Prior(1.0, 1.0))
RULES = {"drop_unsolved": True, "drop_solved": True}


@pytest.fixture
def values(root):
    return load_params(root / "presets/embedded.yaml").values


def samples(rewards):
    """Rewards per prompt, in order."""
    rows = [
        {"prompt_id": prompt_id, "sample_index": index, "reward": reward}
        for prompt_id, own in rewards.items()
        for index, reward in enumerate(own)
    ]
    return pd.DataFrame(rows).astype({"reward": "float64"})


def dropped(values, rewards, priors=WIDE, **changes):
    table = value_table(samples(rewards), values.model_copy(update=RULES | changes), priors)
    reasons = [None if pd.isna(reason) else reason for reason in table["dropped"]]
    return dict(zip(table["prompt_id"], reasons, strict=True))


def test_two_responses_prove_nothing_where_success_rates_are_spread(values):
    two = {"never": [0.0, 0.0], "always": [1.0, 1.0]}
    assert dropped(values, two) == {"never": None, "always": None}
    assert dropped(values, two, estimate="published") == {"never": "unsolved", "always": "solved"}
    # After n failures the rate is above 0.1 with probability 0.9^(n + 1): below 0.2 from n = 15 on.
    many = {"a": [0.0] * 14, "b": [0.0] * 15, "c": [1.0] * 14, "d": [1.0] * 15}
    assert dropped(values, many) == {"a": None, "b": "unsolved", "c": None, "d": "solved"}


def test_a_prompt_that_has_been_solved_is_not_unsolved_whatever_the_others_say(values):
    hard = WIDE._replace(reward=Prior(1.0, 99.0))
    assert dropped(values, {"a": [1.0, 0.0], "b": [0.0, 0.0]}, hard) == {"a": None, "b": "unsolved"}
    assert dropped(values, {"a": [0.01, 0.0]}, hard) == {"a": None}  # a part of a reward is more than none


def test_the_band_is_of_the_posterior_mean(values):
    rewards = {"a": [1.0, 0.0], "b": [1.0, 1.0]}  # 0.5 and 0.75
    assert dropped(values, rewards, keep_mean_reward=(0.6, 0.8)) == {"a": "too hard", "b": None}
    published = dropped(values, rewards, keep_mean_reward=(0.6, 0.8), estimate="published", drop_solved=False)
    assert published == {"a": "too hard", "b": "too easy"}


def test_the_expected_reward_is_of_the_kept_prompts_and_not_of_their_lucky_samples(values):
    rewards = {"a": [1.0, 0.0], "b": [0.0] * 20, "c": [1.0, 1.0]}
    table = value_table(samples(rewards), values, WIDE)
    assert table["dropped"].isna().tolist() == [True, False, True]
    assert table["expected_reward"].tolist() == pytest.approx([2 / 4, 1 / 22, 3 / 4])
    assert expected_reward_limits(table, WIDE.reward)[1] == pytest.approx((2 / 4 + 3 / 4) / 2)
    mean = (2 / 12 + 3 / 12) / 2
    error = (mean * (1 - mean) / 4) ** 0.5  # of four samples
    assert expected_reward_limits(table, Prior(1.0, 9.0)) == pytest.approx((max(mean - 3 * error, 0), mean))
    many = table.assign(n=table["n"] * 100)
    lowest, highest = expected_reward_limits(many, Prior(1.0, 9.0))
    assert lowest == pytest.approx(highest - 3 * (highest * (1 - highest) / 400) ** 0.5)


def test_the_report_counts_the_dropped_prompts_that_are_probably_solvable(values):
    table = value_table(
        samples({"a": [0.0] * 2, "b": [0.0] * 2, "c": [0.0] * 2, "d": [1.0] * 2}),
        values.model_copy(update={"estimate": "published"}),
        WIDE,
    )
    assert table["solvable"].tolist() == pytest.approx([0.9**3] * 3 + [1 - 0.1**3])
    assert dropped_but_solvable(table) == 2  # 3 x 0.729


def test_the_priors_are_of_all_prompts_and_of_as_many_samples_of_each():
    """The third and fourth samples exist only where the first ones left V* open."""
    rng = np.random.default_rng(0)
    first = rng.random((200, 2)) < rng.random((200, 1))
    fixed = {str(row): own for row, own in enumerate(first.astype(float).tolist())}
    adaptive = {name: own + [1.0, 1.0] * int(sum(own) == 1) for name, own in fixed.items()}
    assert fit_priors(samples(adaptive), 0.5) == fit_priors(samples(fixed), 0.5)
    priors = fit_priors(samples(fixed), 0.5)
    assert priors.reward == pytest.approx(priors.success)  # rewards are 0 or 1
    assert sum(priors.cautious) > sum(priors.reward)
    halves = {name: [reward / 2 for reward in own] for name, own in fixed.items()}
    mean = fit_priors(samples(halves), 0.5).reward.alpha / sum(fit_priors(samples(halves), 0.5).reward)
    assert mean == pytest.approx(first.mean() / 2)


def test_v_star_of_prompts_that_the_samples_chose_is_not_too_high(values):
    rates = np.random.default_rng(1).beta(1, 19, 2000)
    rewards = np.random.default_rng(2).random((2000, 8)) < rates[:, None]
    frame = samples({str(row): own for row, own in enumerate(rewards.astype(float).tolist())})
    truth = 0.5 * np.log1p(rates * np.expm1(2))
    priors = fit_priors(frame, 0.5)
    bias = {}
    for estimate in ("published", "pooled"):
        table = value_table(frame, values.model_copy(update={"estimate": estimate}), priors)
        kept = table["dropped"].isna().to_numpy()
        bias[estimate] = (table["v_star"] - truth)[kept].mean()
        assert expected_reward_limits(table, priors.cautious)[1] == pytest.approx(rates[kept].mean(), rel=0.2)
        assert table.loc[kept, "mean_reward"].mean() > 1.8 * rates[kept].mean()
    assert bias["published"] > 0.13 and abs(bias["pooled"]) < 0.015
