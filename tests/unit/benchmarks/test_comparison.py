"""Readings of learning curves against figures computed by hand; every algorithm has equally many trials."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from apo_core.config import DEFAULTS
from apo_core.config.file import set_params
from benchmarks.comparison import stability
from benchmarks.comparison.cache import cached_result
from benchmarks.comparison.curves import (
    earliest_end,
    geometric_mean,
    mean_with_interval,
    pairs_by_seed,
    seconds_to_accuracy,
    time_ratio,
    value_at,
)
from benchmarks.comparison.report import COLOURS, TITLES, table_of
from benchmarks.comparison.search_space import (
    CHANGES,
    RATES,
    START,
    algorithm_overrides,
    effective_overrides,
    uses_v_star,
)
from benchmarks.comparison.tune import at_edge, best, reward_over_time, tune
from benchmarks.comparison.workspaces import PRESET


def run_of(name, seed, *points):
    """A run whose points are (seconds, accuracy of sampled responses)."""
    return {
        "algorithm": name,
        "seed": seed,
        "peak_rss_mib": 800.0,
        "collapsed": None,
        "curve": [
            {
                "seconds": seconds,
                "sampled": sampled,
                "greedy": 0.9,
                "kl": 0.5,
                "generations": 40 * number,
                "response_tokens": 400 * number,
                "prompts": 10 * number,
            }
            for number, (seconds, sampled) in enumerate(points)
        ],
    }


CURVE = run_of("apo", 1, (10.0, 0.4), (20.0, 0.6), (30.0, 0.5), (40.0, 0.8))


def test_between_two_points_a_curve_is_straight():
    assert value_at(CURVE, "seconds", 15.0, "sampled") == pytest.approx(0.5)
    assert value_at(CURVE, "seconds", 5.0, "sampled") == 0.4  # nothing is learned during stage 1
    assert math.isnan(value_at(CURVE, "seconds", 40.1, "sampled"))  # it might have gone on
    assert value_at(CURVE, "prompts", 25.0, "seconds") == pytest.approx(35.0)
    assert earliest_end([CURVE, run_of("ppo", 1, (0.0, 0.4), (50.0, 0.8))], "prompts") == 10
    assert earliest_end([CURVE, run_of("ppo", 1, (0.0, 0.4), (50.0, 0.8))], "seconds") == 40.0


def test_the_time_to_an_accuracy_is_that_of_its_first_crossing():
    assert seconds_to_accuracy(CURVE, 0.55) == pytest.approx(17.5)
    assert seconds_to_accuracy(CURVE, 0.7) == pytest.approx(30 + 10 * 2 / 3)
    assert seconds_to_accuracy(CURVE, 0.4) == 10.0
    assert math.isnan(seconds_to_accuracy(CURVE, 0.81))


def test_times_are_compared_at_nine_tenths_of_the_gain_that_both_have():
    slower = run_of("ppo", 1, (0.0, 0.4), (100.0, 0.7))  # 0.67: after 90 s
    ours = 30 + 10 * (0.67 - 0.5) / 0.3
    assert time_ratio(CURVE, slower) == pytest.approx(ours / 90)
    assert time_ratio(slower, CURVE) == pytest.approx(90 / ours)


@pytest.mark.parametrize("points", [[(0.0, 0.4)], [(0.0, 0.4), (50.0, 0.3)]])
def test_a_run_that_never_learned_has_no_time(points):
    assert math.isnan(time_ratio(CURVE, run_of("ppo", 1, *points)))
    assert math.isnan(time_ratio(run_of("ppo", 1, *points), CURVE))


def test_the_interval_is_students():
    mean = mean_with_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert mean == pytest.approx((2.0, 2 - half, 2 + half), rel=1e-5)
    assert math.isnan(mean_with_interval([1.0]).low)
    assert math.isnan(mean_with_interval([]).value)


def test_the_geometric_mean_of_half_and_twice_is_one():
    assert geometric_mean([0.5, 2.0]).value == pytest.approx(1.0)


def test_runs_are_compared_on_seeds_where_neither_collapsed():
    runs = [run_of("apo", seed, (10.0, 0.4), (50.0, 0.8)) for seed in (1, 2, 3)]
    runs += [run_of("ppo", seed, (0.0, 0.4), (50.0, 0.8)) for seed in (3, 2, 1)]
    runs[1]["collapsed"] = "KL"
    assert [
        (our["seed"], run["algorithm"], run["seed"]) for our, run in pairs_by_seed(runs, "apo", "ppo")
    ] == [
        (1, "ppo", 1),
        (3, "ppo", 3),
    ]


def test_a_collapsed_trial_is_never_the_best():
    trials = [
        {"algorithm": "apo", "settings": ["a"], "reward": 0.9, "steps": 7, "collapsed": "step 7"},
        {"algorithm": "apo", "settings": ["b"], "reward": 0.5, "steps": 9, "collapsed": None},
        {"algorithm": "apo", "settings": ["c"], "reward": 0.6, "steps": 9, "collapsed": None},
        {"algorithm": "ppo", "settings": ["d"], "reward": 0.8, "steps": 9, "collapsed": None},
    ]
    assert best(trials, "apo")["settings"] == ["c"]


def test_a_trial_is_judged_by_all_of_its_time():
    rows = [
        {"reward": 0.2, "sampling_seconds": 1.0, "update_seconds": 2.0},
        {"reward": 0.6, "sampling_seconds": 0.5, "update_seconds": 0.5},
    ]
    assert reward_over_time(rows, 1) == pytest.approx((3.0 * 0.4 + 1.0 * 0.6) / 4)
    # Both steps train on responses of one copy, made at the beginning.
    assert reward_over_time(rows, 2) == pytest.approx(0.4)


def test_every_change_is_tried_on_the_best_so_far(monkeypatch, tmp_path):
    """Tests the rule of the search alone: the rewards are made up."""
    worth = {"train.batch_size=64": 0.1, "values.beta1=5.0": 0.2, "train.learning_rate=0.0002": 0.1}

    def fake_trial(seed_workspace, directory, name, overrides, *, seconds, threads):
        reward = sum(worth.get(override, -0.1) for override in effective_overrides(overrides))
        return {"algorithm": name, "settings": overrides, "reward": reward, "steps": 9, "collapsed": None}

    monkeypatch.setattr("benchmarks.comparison.tune._try", fake_trial)
    with ThreadPoolExecutor(2) as pool:
        trials = tune(None, tmp_path, ["apo", "ppo"], pool, seconds=1.0, threads=1)
    assert effective_overrides(best(trials, "apo")["settings"]) == [
        "algorithm=apo",
        "train.batch_size=64",
        "train.learning_rate=0.0002",
        "values.beta1=5.0",
    ]
    trial_counts = [sum(trial["algorithm"] == name for trial in trials) for name in ("apo", "ppo")]
    assert trial_counts == [1 + len(CHANGES["apo"]) + len(RATES)] * 2


def test_a_cached_result_is_not_computed_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"number": len(made)}

    assert [cached_result(tmp_path / "result.json", make) for _ in range(2)] == [{"number": 1}] * 2


@pytest.mark.slow
def test_every_algorithm_has_as_many_trials_and_the_same_first_number_of_responses_per_update():
    assert set(START) == set(CHANGES) == set(TITLES) == set(COLOURS)
    assert set(DEFAULTS) <= set(START)
    assert len({len(changes) for changes in CHANGES.values()}) == 1
    for name, start in START.items():
        changes = [change for turn in CHANGES[name] for change in turn]
        for more in [[], *CHANGES[name], changes]:  # each alone, and all of them
            params = params_of([*start, *more])  # every key is there
            assert params.train.batch_size % params.algorithm.minibatches == 0
            assert not more or params != params_of(start)  # no trial is made twice
            at_size = params_of(algorithm_overrides([*start, *more]))
            assert at_size.algorithm == params.algorithm
            assert params_of(effective_overrides([*start, *more])) == params
        assert uses_v_star(start) == (params.algorithm.name == "apo")
        first = params_of(start)
        responses = getattr(first.algorithm, "responses", 2 if name == "rebel" else 1)
        assert first.train.batch_size * responses == 256
    assert params_of(START["apo"]).algorithm.minibatches == 1
    published = {setting.partition("=")[0] for change in CHANGES["apo"] for setting in change}
    assert published == {"train.batch_size", "values.beta1", "algorithm.beta2"}


def params_of(overrides):
    return _params_of(tuple(overrides))


@functools.cache
def _params_of(overrides):
    return set_params(PRESET, overrides, write=False)


def test_the_table_compares_every_algorithm_with_ours():
    runs = [run_of("apo", seed, (10.0, 0.4), (50.0, 0.8)) for seed in (1, 2)]
    runs += [run_of("ppo", seed, (0.0, 0.4), (100.0, 0.8)) for seed in (1, 2)]
    runs += [run_of("grpo", seed, (0.0, 0.4)) for seed in (1, 2)]  # before the first checkpoint
    for fallen in runs[-2:]:
        fallen["collapsed"] = "KL"
    sizes = {"apo": {"seconds_per_prompt": 1.0, "peak_rss_mib": 4000.0, "responses": 1}}
    sizes["ppo"] = {"seconds_per_prompt": 4.0, "peak_rss_mib": 8000.0, "responses": 1}
    sizes["grpo"] = sizes["ppo"]
    table = table_of(runs, sizes, about=["two seeds"])
    rows = cells_of(table, "PPO")
    assert rows[0] == [
        "0.600 [0.600, 0.600]",  # at 50 s, half of the way
        "-0.200 [-0.200, -0.200]",
        "0.900 [0.900, 0.900]",
        "0.50 [0.50, 0.50]",
        "0.51 [0.51, 0.51]",
        "0 of 2",
    ]
    assert rows[1][:3] == ["100 [100, 100]", "40", "400"]
    assert rows[2] == ["800 (1.00x)", "8,000 (0.50x)", "4 (0.25x)", "1"]
    assert cells_of(table, "GRPO")[0][-1] == "2 of 2"


def cells_of(table, title):
    """Cells of an algorithm's rows, without its name."""
    rows = [line for line in table.splitlines() if line.startswith(f"| {title} |")]
    return [[cell.strip() for cell in row.split("|")][2:-1] for row in rows]


def test_every_seed_is_compared_at_its_own_time_and_missing_pairs_are_noted():
    runs = [run_of("apo", 1, (10.0, 0.4), (40.0, 0.8)), run_of("apo", 2, (10.0, 0.4), (80.0, 0.8))]
    runs += [run_of("ppo", seed, (0.0, 0.4), (100.0, 0.8)) for seed in (1, 2)]
    size = {"seconds_per_prompt": 1.0, "peak_rss_mib": 4000.0, "responses": 1}
    sizes = {"apo": size, "ppo": size}
    assert cells_of(table_of(runs, sizes, about=[]), "PPO")[0][0].startswith("0.640 ")  # 0.56 and 0.72
    runs[0]["collapsed"] = "KL"
    (ours, *_), (others, *_) = (cells_of(table_of(runs, sizes, about=[]), name) for name in ("A*-PO", "PPO"))
    assert ours[0] == "0.800"
    assert others[0].startswith("0.760 ")  # at 100 and 80 s
    assert others[1] == "-0.080 (1 of 2 seeds)"
    for run in runs:
        run["collapsed"] = "KL"
    assert "All 4 runs collapsed" in table_of(runs, sizes, about=[])


def test_a_best_rate_at_the_edge_is_noted():
    def trial(rate):
        return {
            "algorithm": "apo",
            "settings": [f"train.learning_rate={rate}"],
            "reward": 0.5,
            "steps": 9,
            "collapsed": None,
        }

    assert at_edge([trial(RATES[0])], "apo")
    assert at_edge([trial(RATES[-1])], "apo")
    assert not at_edge([trial(RATES[1])], "apo")


def test_a_collapsed_training_ends_below_its_first_reward():
    def trace(reward, steps=stability.STEPS):
        metrics = {"reward": [reward] * steps, "kl": [0.1] * steps, "response_length": [20.0] * steps}
        return metrics | {"start": 0.5}

    assert not stability.collapsed(trace(0.46))
    assert stability.collapsed(trace(0.44))
    assert stability.collapsed(trace(0.9, stability.STEPS - 1))
    assert stability.stopped_at(trace(0.2), max_kl=1.0, reward_share=0.5) == stability.WINDOW
    assert stability.stopped_at(trace(0.3), max_kl=1.0, reward_share=0.5) is None
    assert stability.stopped_at(trace(0.3), max_kl=0.05, reward_share=0.5) == stability.WINDOW
