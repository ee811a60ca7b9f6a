import math

import pytest

from apo_core.errors import PolicyCollapse
from apo_core.training.guard import Guard

HEALTHY = {"kl": 1.0, "reward": 0.5, "response_length": 20.0}


def guard(window=3, **changes):
    """One whose least reward is half of the expected one: so many prompts leave nothing to chance."""
    limits = {
        "batch_size": 10_000,
        "max_kl": 10.0,
        "max_sampler_kl": 0.0625,
        "expected_reward": (0.4, 0.4),
        "min_reward_share": 0.5,
        "min_length_share": 0.25,
    }
    return Guard(window=window, **(limits | changes))


def observe(guard, *steps):
    """Observe steps that differ from the healthy one; return the step at which the guard stops, or None."""
    for step, changes in enumerate(steps, start=1):
        try:
            guard.observe({"step": step, **HEALTHY, **changes})
        except PolicyCollapse:
            return step
    return None


def test_a_healthy_run_passes():
    assert observe(guard(), *[{}] * 50) is None


@pytest.mark.parametrize(
    ("change", "stops"),
    [
        ({"kl": 10.0}, False),
        ({"kl": 10.01}, True),
        ({"kl": -500.0}, False),
        ({"reward": 0.2}, False),
        ({"reward": 0.19}, True),
        ({"response_length": 5.0}, False),
        ({"response_length": 4.99}, True),
        ({"response_length": 500.0}, False),
        ({"kl": math.nan}, True),
        ({"reward": math.nan}, True),
        ({"response_length": math.nan}, True),
        ({"kl": math.inf}, True),
    ],
)
def test_each_limit_stops_the_run_when_its_mean_passes_it(change, stops):
    assert observe(guard(), {}, {}, {}, change, change, change) == (
        None if not stops else pytest.approx(5, abs=1)
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([{"kl": 12.0}] * 2, "collapsed by step 2: mean KL 12 is above 10 over 2 steps"),
        ([{"reward": 0.1}] * 2, "collapsed by step 2: mean reward 0.100 is below 0.200 over 2 steps"),
        (
            [{}, {}, {"response_length": 1.0}, {"response_length": 1.0}],
            "collapsed by step 4: mean response length 1.0 is below 5.0 over 2 steps",
        ),
    ],
)
def test_the_reason_names_the_limit_and_the_step(changes, reason):
    watch = guard(window=2)
    with pytest.raises(PolicyCollapse, match=reason):
        for step, change in enumerate(changes, start=1):
            watch.observe({"step": step, **HEALTHY, **change})


def test_without_kl_the_other_limits_hold():
    watch = guard(window=1)
    watch.observe({"step": 1, "reward": 0.5, "response_length": 20.0})
    with pytest.raises(PolicyCollapse, match="reward"):
        watch.observe({"step": 2, "reward": 0.1, "response_length": 20.0})


def test_where_there_is_no_kl_none_is_assumed():
    watch = guard(window=1, batch_size=1, max_kl=0.0)
    watch.observe({"step": 1, "reward": 0.5, "response_length": 20.0})


@pytest.mark.parametrize(("divergence", "stops"), [(0.0625, False), (0.063, True), (math.nan, True)])
def test_a_sampler_that_is_another_policy_stops_the_run(divergence, stops):
    assert observe(guard(), *[{"sampler_kl": divergence}] * 4) == (3 if stops else None)


def test_the_reason_says_what_to_do_about_the_sampler_even_where_the_policy_collapses():
    watch = guard(window=2)
    watch.observe({"step": 1, **HEALTHY, "sampler_kl": 0.3, "kl": 99.0})
    with pytest.raises(PolicyCollapse) as stopped:
        watch.observe({"step": 2, **HEALTHY, "sampler_kl": 0.1, "kl": 99.0})
    assert str(stopped.value) == (
        "by step 2 vLLM samples from another policy than the one that learns: mean sampler_kl 0.2 nats per "
        "token is above 0.0625 over 2 steps; train with train.sampler.engine=transformers, or raise "
        "train.guard.max_sampler_kl"
    )


def test_steps_of_a_version_that_did_not_measure_the_sampler_say_nothing_of_it():
    assert observe(guard(), {}, {}, {"sampler_kl": 0.0625}, {"sampler_kl": 0.0625}) is None
    assert observe(guard(), {}, {}, {"sampler_kl": 0.063}) == 3


def test_the_least_reward_itself_passes():
    assert observe(guard(window=1), {"reward": 0.2}) is None


def test_nothing_is_said_before_the_window_is_full():
    assert observe(guard(window=5), *[{"kl": 100.0}] * 4) is None
    assert observe(guard(window=5), *[{"kl": 100.0}] * 5) == 5


def test_one_bad_step_in_a_good_window_passes_and_leaves_it_again():
    # 1 + 1 + 26 = 28, a mean of 9.3; with another 26 the mean is 17.7.
    assert observe(guard(), {}, {}, {"kl": 26.0}, {}, {}, {"kl": 26.0}) is None
    assert observe(guard(), {}, {}, {"kl": 26.0}, {"kl": 26.0}) == 4


def test_length_is_measured_against_the_first_window():
    steps = [
        {"response_length": length} for length in (100.0, 100.0, 100.0, 30.0, 30.0, 30.0, 20.0, 20.0, 20.0)
    ]
    # The limit is 25: means of 76.7, 53.3, 30, 26.7, 23.3.
    assert observe(guard(), *steps) == 8


def test_a_window_of_one_judges_every_step():
    assert observe(guard(window=1), {}, {"kl": 11.0}) == 2


@pytest.mark.parametrize(
    ("first", "least"),
    [
        (0.5, 0.25),  # within what stage 1 expects: it is what was measured
        (0.1, 0.20),  # a policy that has collapsed at once is no measure
        (0.9, 0.30),  # nor is one that has learned at once
    ],
)
def test_the_first_window_says_where_between_its_limits_the_expected_reward_is(first, least):
    steps = [{"reward": first}] * 3
    watch = guard(expected_reward=(0.4, 0.6))
    if first < least:
        assert observe(watch, *steps) == 3
        return
    assert observe(watch, *steps) is None
    assert observe(watch, *[{"reward": least + 0.001}] * 9) is None
    assert observe(watch, *[{"reward": least - 0.001}] * 9) is not None


def test_few_rewards_leave_room_for_chance():
    few = guard(
        window=1, batch_size=32, expected_reward=(0.2, 0.2), min_reward_share=0.9, min_length_share=0.0
    )
    assert observe(few, {"reward": 0.2}, {"reward": 1 / 32}) is None
