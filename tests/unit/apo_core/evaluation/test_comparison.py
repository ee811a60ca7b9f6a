import math

import numpy as np
import pandas as pd
import pytest

from apo_core.errors import ApoError
from apo_core.evaluation.comparison import (
    by_difficulty,
    compare,
    is_graded,
    mean_rewards,
    per_prompt,
    sampled_rewards,
    summarise,
)
from apo_core.evaluation.intervals import exact_interval, mean_interval, paired_interval

COLUMNS = ["policy", "prompt_id", "sample_index", "reward", "extracted", "finish_reason", "log_ratio"]
PROMPTS = pd.DataFrame({"prompt_id": ["a", "b"], "set": ["s", "s"], "group": [None, None]})
NAN = math.nan


@pytest.fixture
def rows():
    """Two prompts, one greedy response and two samples of each model."""
    return pd.DataFrame(
        [
            ("reference", "b", -1, 0.0, "3", "stop", NAN),
            ("reference", "b", 0, 0.0, "3", "stop", NAN),
            ("reference", "b", 1, 0.0, None, "length", NAN),
            ("reference", "a", -1, 1.0, "7", "stop", NAN),
            ("reference", "a", 0, 1.0, "7", "stop", NAN),
            ("reference", "a", 1, 0.0, "8", "stop", NAN),
            ("policy", "b", -1, 1.0, "9", "length", 90.0),
            ("policy", "b", 0, 1.0, "9", "stop", 0.5),
            ("policy", "b", 1, 0.0, None, "stop", 1.5),
            ("policy", "a", -1, 1.0, "7", "stop", 90.0),
            ("policy", "a", 0, 1.0, "7", "stop", -1.0),
            ("policy", "a", 1, 1.0, "7.0", "stop", 3.0),
        ],
        columns=COLUMNS,
    )


def asked(prompts, reference, policy):
    """Sampled rows with the rewards of both models per prompt; None is a failed verification."""
    rows = [
        (model, prompt, index, reward, None if reward is None else "7", "stop", 0.0)
        for model, rewards in (("reference", reference), ("policy", policy))
        for prompt, own in zip(prompts, rewards, strict=True)
        for index, reward in enumerate(own)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"reward": float})


def test_accuracy_is_the_mean_over_a_prompts_samples_without_the_greedy_one(rows):
    assert per_prompt(rows, "reference").to_dict() == {"a": 0.5, "b": 0.0}
    assert per_prompt(rows, "policy").to_dict() == {"a": 1.0, "b": 0.5}


def test_a_summary_by_hand(rows):
    # Of the reference 1/2 and 0: variance 1/8 (of P - 1) to a coin's 3/16, a share of 2/3; 2 x 3/4 are
    # informative, so that 2 (3/2 + 1) / (3/2 x 2/3 + 1) = 5/2 are effective. Of the policy the same.
    assert summarise(rows, PROMPTS, seed=0) == {
        "prompts": 2,
        "samples": 2,
        "reference": {
            "pass@1": 0.25,
            "avg@2": 0.25,
            "pass@2": 0.5,  # one of the two prompts is solved by one of its samples
            "maj@2": 0.25,  # a tie on a, and one vote, a wrong one, on b
            "ci95": pytest.approx(exact_interval(0.25, 2.5)),
            "greedy": 0.5,
            "truncated": 0.25,
            "unparsed": 0.25,
            "errors": 0.0,
        },
        "policy": {
            "pass@1": 0.75,
            "avg@2": 0.75,
            "pass@2": 1.0,
            "maj@2": 1.0,
            "ci95": pytest.approx(exact_interval(0.75, 2.5)),
            "greedy": 1.0,
            "truncated": 0.0,
            "unparsed": 0.25,
            "errors": 0.0,
        },
        "gain": 0.5,
        "gain_ci95": [-1.0, 1.0],  # two prompts say nothing
        "kl": 1.0,  # (0.5 + 1.5 - 1 + 3) / 4, greedy rows left out
        "sets": {},  # there is one
        "groups": {},
        "difficulty": by_difficulty(rows, seed=0),
    }


def test_the_order_of_the_rows_does_not_matter(rows):
    shuffled = rows.sample(frac=1, random_state=0)
    assert summarise(shuffled, PROMPTS, seed=0) == summarise(rows, PROMPTS, seed=0)


def test_models_on_different_prompts_are_not_summarised(rows):
    with pytest.raises(ValueError, match="same prompts"):
        summarise(rows[(rows["policy"] == "policy") | (rows["prompt_id"] == "a")], PROMPTS, seed=0)


def test_pass_at_k_is_given_for_powers_of_two_and_for_all_samples():
    summary = compare(asked("a", [[0, 0, 1, 0, 0, 0]], [[1, 1, 0, 0, 0, 0]]), seed=0)
    reference, policy = summary["reference"], summary["policy"]
    assert {name for name in reference if "pass" in name} == {"pass@1", "pass@2", "pass@4", "pass@6"}
    assert [reference[f"pass@{k}"] for k in (1, 2, 4, 6)] == pytest.approx([1 / 6, 1 / 3, 2 / 3, 1])
    # 1 - C(4, 2) / C(6, 2) and 1 - C(4, 4) / C(6, 4).
    assert [policy[f"pass@{k}"] for k in (2, 4, 6)] == pytest.approx([1 - 6 / 15, 1 - 1 / 15, 1])


def test_eight_samples_are_a_power_of_two_themselves():
    reference = compare(asked("a", [[0] * 8], [[1] * 8]), seed=0)["reference"]
    assert [name for name in reference if "pass" in name] == ["pass@1", "pass@2", "pass@4", "pass@8"]


def test_the_more_samples_the_narrower_the_interval_of_a_mean():
    reference = compare(asked("ab", [[0, 1], [0, 1]], [[1, 1], [1, 1]]), seed=0)["reference"]
    assert reference["ci95"] == list(mean_interval(np.array([0.5, 0.5]), 2))


def test_one_sample_per_prompt_has_no_more_than_pass_at_1():
    metrics = compare(asked("ab", [[0], [1]], [[1], [1]]), seed=0)["reference"]
    assert {name for name in metrics if "@" in name} == {"pass@1", "avg@1", "maj@1"}
    assert metrics["pass@1"] == metrics["avg@1"] == metrics["maj@1"] == 0.5
    assert metrics["ci95"] == list(mean_interval(np.array([0.0, 1.0]), 1))


def test_a_failed_verification_is_no_wrong_answer_and_is_counted():
    summary = compare(asked("ab", [[1, None], [0, 0]], [[1, 1], [None, 1]]), seed=0)
    assert summary["prompts"] == 2
    assert summary["reference"]["pass@1"] == 0.5
    assert summary["policy"]["pass@1"] == 1.0
    assert summary["reference"]["errors"] == summary["policy"]["errors"] == 0.25
    assert summary["reference"]["unparsed"] == 0.0  # the failed one has no answer, and is no parse failure
    assert summary["reference"]["pass@2"] == 0.0  # of b alone: a has not two
    assert summary["gain"] == 0.5


def test_what_failed_rows_count_as_is_chosen():
    sampled = sampled_rewards(asked("ab", [[1, None], [None, None]], [[1, 1], [0, 0]]), "reference")
    assert mean_rewards(sampled).to_dict() == {"a": 1.0}
    assert mean_rewards(sampled, failed=0.0).to_dict() == {"a": 0.5, "b": 0.0}
    assert mean_rewards(sampled, failed=1.0).to_dict() == {"a": 1.0, "b": 1.0}


def test_the_gain_is_bounded_where_the_verifier_failed():
    rows = asked("ab", [[1, None], [0, 0]], [[1, 1], [None, 1]])
    summary = compare(rows, seed=0)
    # Wrong for the policy and right for the reference: 1 - 1 and 1/2 - 0; the other way: 1 - 1/2 and 1 - 0.
    assert summary["gain_bounds"] == [0.25, 0.75]
    many = asked(
        [*map(str, range(60))],
        [[0, 0]] * 60,
        [[1, at / 40] for at in range(40)] + [[0, None]] + [[0, 0]] * 19,
    )
    low, high = compare(many, seed=0)["gain_bounds_ci95"]
    worst, best = (
        paired_interval(
            mean_rewards(sampled_rewards(many, "reference")),
            mean_rewards(sampled_rewards(many, "policy"), failed=failed),
            seed=0,
        )
        for failed in (0.0, 1.0)
    )
    assert (low, high) == (worst[0], best[1])


def test_greedy_rows_that_failed_leave_the_gain_as_it_is(rows):
    rows.loc[rows["sample_index"] < 0, "reward"] = NAN
    assert "gain_bounds" not in compare(rows, seed=0)


def test_a_prompt_without_any_reward_of_one_model_is_left_out_of_both():
    summary = compare(asked("ab", [[None, None], [0, 1]], [[1, 1], [0, 0]]), seed=0)
    assert summary["prompts"] == 1
    assert (summary["reference"]["pass@1"], summary["policy"]["pass@1"]) == (0.5, 0.0)
    assert summary["gain"] == -0.5
    assert summary["reference"]["errors"] == 0.5


def test_a_k_that_no_prompt_has_enough_rewards_for_is_unknown():
    assert compare(asked("a", [[1, None]], [[0, 0]]), seed=0)["reference"]["pass@2"] is None


def test_nothing_to_compare_is_refused():
    with pytest.raises(ApoError, match="the verifier failed on all responses"):
        compare(asked("ab", [[None], [1]], [[1], [None]]), seed=0)


def test_a_greedy_response_that_was_not_scored_has_no_accuracy(rows):
    rows.loc[(rows["policy"] == "reference") & (rows["sample_index"] < 0), "reward"] = NAN
    summary = compare(rows, seed=0)
    assert summary["reference"]["greedy"] is None
    assert summary["policy"]["greedy"] == 1.0


def test_sets_and_groups_are_compared_apart():
    rows = asked("abcd", [[0, 0], [1, 0], [1, 1], [1, 1]], [[1, 1], [1, 1], [0, 1], [1, 1]])
    prompts = pd.DataFrame(
        {
            "prompt_id": [*"abcd", "training"],
            "set": ["one", "one", "two", "two", "three"],
            "group": ["x", "y", None, "x", "z"],
        }
    )
    summary = summarise(rows, prompts, seed=3)
    assert {name: (block["prompts"], block["gain"]) for name, block in summary["sets"].items()} == {
        "one": (2, 0.75),
        "two": (2, -0.25),
    }
    assert {name: (block["prompts"], block["gain"]) for name, block in summary["groups"].items()} == {
        "x": (2, 0.5),
        "y": (1, 0.5),
    }
    two = summary["sets"]["two"]
    assert two == compare(rows[rows["prompt_id"].isin(["c", "d"])], seed=3)
    assert two["gain_ci95"] == list(
        paired_interval(pd.Series({"c": 1.0, "d": 1.0}), pd.Series({"c": 0.5, "d": 1.0}), seed=3)
    )
    assert summary["groups"]["y"]["gain_ci95"] == [-1.0, 1.0]  # one prompt
    assert summary["groups"]["x"] == compare(rows[rows["prompt_id"].isin(["a", "d"])], seed=3)
    assert summary.items() >= compare(rows, seed=3).items()


def test_a_set_of_training_prompts_is_none_of_the_evaluation():
    prompts = pd.DataFrame({"prompt_id": ["a", "training"], "set": ["one", "two"], "group": [None, "x"]})
    summary = summarise(asked("a", [[0, 0]], [[1, 1]]), prompts, seed=0)
    assert summary["sets"] == summary["groups"] == {}


def test_a_set_without_any_reward_is_left_out():
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "set": ["one", "two"], "group": [None, None]})
    summary = summarise(asked("ab", [[None, None], [0, 1]], [[1, 1], [0, 0]]), prompts, seed=0)
    assert list(summary["sets"]) == ["two"]


def test_difficulty_is_judged_by_other_samples_than_those_compared():
    rows = asked(
        "abcd",
        [[0, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0]],
        [[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0]],
    )
    levels = by_difficulty(rows, seed=0)
    assert {name: block["prompts"] for name, block in levels.items()} == {
        "unsolved": 2,
        "partly solved": 1,
        "solved": 1,
    }
    unsolved = levels["unsolved"]  # a and d: the last two samples of both models
    assert (unsolved["reference"]["pass@1"], unsolved["policy"]["pass@1"]) == (0.5, 0.5)
    assert (levels["partly solved"]["gain"], levels["solved"]["gain"]) == (1.0, 0.5)
    assert levels["solved"]["samples"] == 2


def test_of_an_odd_number_of_samples_the_middle_measures_the_gain():
    (block,) = by_difficulty(asked("a", [[0, 1, 0]], [[0, 1, 1]]), seed=0).values()
    assert (block["samples"], block["gain"]) == (2, 0.5)


def test_one_sample_cannot_measure_both_difficulty_and_gain():
    assert by_difficulty(asked("a", [[0]], [[1]]), seed=0) == {}


def test_a_policy_that_is_the_reference_gains_nothing_at_any_difficulty():
    """If the compared samples also set the difficulty, it would gain on hard prompts and lose on easy ones.

    The two models share their random numbers, as the samples of stage `evaluate` do.
    """
    rng = np.random.default_rng(0)
    chances = rng.beta(1, 1, size=(2000, 1))
    reference = (rng.random((2000, 4)) < chances).astype(float)
    policy = np.where(rng.random((2000, 4)) < 0.5, reference, rng.random((2000, 4)) < chances)
    rows = asked([str(i) for i in range(2000)], reference.tolist(), policy.astype(float).tolist())
    for block in by_difficulty(rows, seed=0).values():
        assert block["gain"] == pytest.approx(0, abs=0.03)
        # P(solved | first two samples: none, one, both) of a uniform chance: 1/4, 1/2, 3/4.
        assert min(abs(block["reference"]["pass@1"] - share) for share in (0.25, 0.5, 0.75)) < 0.03


def test_the_mean_of_graded_rewards_is_no_pass_at_1():
    rows = asked("ab", [[0.5, 0.0, 1.0, 0.0], [0, 0, 0, 0]], [[1, 1, 0.25, 1], [0, 1, 0, 0]])
    prompts = PROMPTS.assign(set=["s", "t"], group=["x", "y"])
    summary = summarise(rows, prompts, seed=0)
    # Set t has rewards of 0 and 1 alone, and is called as the others are; so is group y.
    parts = [block for kind in ("sets", "groups", "difficulty") for block in summary[kind].values()]
    assert len(parts) > 4
    for block in (summary, *parts):
        for model in (block["reference"], block["policy"]):
            assert not {name for name in model if name.startswith("pass")}
            assert {"reward", "best@2"} <= model.keys()
            assert "best@1" not in model  # it is the reward
    assert summary["policy"]["reward"] == summary["policy"]["avg@4"] == (3.25 / 4 + 0.25) / 2
    assert summary["reference"]["best@4"] == 0.5


def test_one_graded_sample_per_prompt_has_no_best_of_one():
    reference = compare(asked("ab", [[0.5], [1]], [[0], [1]]), seed=0, graded=True)["reference"]
    assert {name for name in reference if "@" in name} == {"avg@1", "maj@1"}


@pytest.mark.parametrize(
    ("rewards", "graded"), [([0, 1, None], False), ([0, 0.5], True), ([1.0, 1e-9], True), ([None], False)]
)
def test_rewards_between_0_and_1_are_graded(rewards, graded):
    assert is_graded(pd.Series(rewards, dtype=float)) is graded
