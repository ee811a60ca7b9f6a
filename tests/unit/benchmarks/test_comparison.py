"""What the comparison reads off curves, by hand, and that its trials are as many for each algorithm."""

import math

import pytest

from apo_core.config import DEFAULTS
from apo_core.config.file import load_params, set_params
from benchmarks.comparison.figures import at_seconds, mean_of, seconds_to, time_ratio
from benchmarks.comparison.report import table_of
from benchmarks.comparison.run import prompts_per_step
from benchmarks.comparison.space import OTHERS, RATES, START
from benchmarks.comparison.tune import best


def run_of(name, seed, *points):
    """Points are (seconds, sampled)."""
    return {
        "algorithm": name,
        "seed": seed,
        "peak_rss_mib": 800.0,
        "collapsed": None,
        "response_tokens": 1000,
        "curve": [
            {"seconds": seconds, "sampled": sampled, "greedy": 0.9, "kl": 0.5, "generations": 10}
            for seconds, sampled in points
        ],
    }


CURVE = run_of("apo", 1, (10.0, 0.4), (20.0, 0.6), (30.0, 0.5), (40.0, 0.8))


def test_between_two_points_a_curve_is_straight():
    assert at_seconds(CURVE, 15.0, "sampled") == pytest.approx(0.5)
    assert at_seconds(CURVE, 5.0, "sampled") == 0.4  # nothing is learned while stage 1 draws
    assert at_seconds(CURVE, 99.0, "sampled") == 0.8


def test_the_time_to_an_accuracy_is_that_of_its_first_crossing():
    assert seconds_to(CURVE, 0.55) == pytest.approx(17.5)
    assert seconds_to(CURVE, 0.7) == pytest.approx(30 + 10 * 2 / 3)
    assert seconds_to(CURVE, 0.4) == 10.0
    assert seconds_to(CURVE, 0.81) == math.inf


def test_times_are_compared_at_the_highest_accuracy_that_both_have():
    slower = run_of("ppo", 1, (0.0, 0.4), (100.0, 0.7))
    assert time_ratio(CURVE, slower) == pytest.approx((30 + 10 * 2 / 3) / 100)
    assert time_ratio(slower, CURVE) == pytest.approx(100 / (30 + 10 * 2 / 3))


def test_the_interval_is_students():
    mean = mean_of([1.0, 2.0, 3.0])
    assert mean.value == 2.0
    assert mean.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)
    assert math.isnan(mean_of([1.0]).half)


def test_a_collapsed_trial_is_no_ones_best():
    trials = [
        {"algorithm": "apo", "settings": ["a"], "sampled": 0.9, "collapsed": "step 7"},
        {"algorithm": "apo", "settings": ["b"], "sampled": 0.5, "collapsed": None},
        {"algorithm": "apo", "settings": ["c"], "sampled": 0.6, "collapsed": None},
        {"algorithm": "ppo", "settings": ["d"], "sampled": 0.8, "collapsed": None},
    ]
    assert best(trials, "apo") == ["c"]


def test_every_algorithm_has_as_many_trials_and_begins_with_updates_of_one_size(tmp_path):
    assert set(START) == set(OTHERS) == set(DEFAULTS)
    assert len({len(others) for others in OTHERS.values()}) == 1
    for name, start in START.items():
        for more in [[], *OTHERS[name]]:
            file = tmp_path / "params.yaml"
            file.write_text(open_preset())
            set_params(file, [*start, f"train.learning_rate={RATES[0]}", *more])  # every key is there
            params = load_params(file)
            assert prompts_per_step([*start, *more]) == params.train.batch_size
        responses = getattr(load_start(tmp_path, start).algorithm, "responses", 2 if name == "rebel" else 1)
        assert prompts_per_step(start) * responses == 256


def open_preset():
    from benchmarks.comparison.__main__ import PRESET

    return PRESET.read_text()


def load_start(tmp_path, start):
    file = tmp_path / "start.yaml"
    file.write_text(open_preset())
    set_params(file, start)
    return load_params(file)


def test_the_table_has_every_algorithm_beside_ours():
    runs = [run_of("apo", seed, (10.0, 0.4), (50.0, 0.8)) for seed in (1, 2)]
    runs += [run_of("ppo", seed, (0.0, 0.4), (100.0, 0.8)) for seed in (1, 2)]
    sizes = {"apo": {"seconds_per_prompt": 1.0, "peak_rss_mib": 4000.0}}
    sizes["ppo"] = {"seconds_per_prompt": 4.0, "peak_rss_mib": 8000.0}
    table = table_of(runs, sizes, about="two seeds")
    (equal_time,) = [line for line in table.splitlines() if line.startswith("| PPO") and "A*-PO" in line]
    cells = [cell.strip() for cell in equal_time.split("|")]
    assert cells[2:5] == ["0.600 ± 0.000", "-0.200 ± 0.000", "0.50 ± 0.00"]
    assert cells[5:8] == ["800 (A*-PO 1.00)", "4 (A*-PO 0.25)", "8,000 (A*-PO 0.50)"]
