"""`benchmarks.comparison` measures what the pipeline's own stages give."""

import json

import pytest
from benchmarks.comparison.arena import enter, run_stage, stage1_seconds

from apo_core.config.file import set_params
from apo_core.tables import VALUES, read_table
from benchmarks.comparison.run import run as run_compared
from benchmarks.comparison.trial import run_trial
from tasks.workspace import Workspace

pytestmark = [pytest.mark.production, pytest.mark.with_engines]

SETTINGS = {
    "apo": ["algorithm=apo", "train.batch_size=16"],
    "ppo": ["algorithm=ppo", "train.batch_size=16"],  # a critic beside the policy in its checkpoints
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_curve_ends_where_the_pipeline_does(workspace, tmp_path, name):
    arena = Workspace(workspace)
    found = run_compared(
        arena, tmp_path / name, name, SETTINGS[name], seconds=4.0, checkpoint_every=10, threads=1
    )
    steps = [point["step"] for point in found["curve"]]
    assert steps == list(range(0, steps[-1] + 1, 10))
    assert [point["prompts"] for point in found["curve"]] == [16 * step for step in steps]
    seconds = [point["seconds"] for point in found["curve"]]
    assert seconds == sorted(seconds)
    assert seconds[0] == (stage1_seconds(arena) if name == "apo" else 0)
    assert 2.0 < seconds[-1] < 6.0
    before = 4 * 128 if name == "apo" else 0
    assert [point["generations"] for point in found["curve"]] == [before + 16 * step for step in steps]

    set_params(arena.params, [*SETTINGS[name], f"train.steps={steps[-1]}"])
    # In processes of their own: a rank leaves its port in the environment.
    for stage in ("train", "evaluate"):
        run_stage(arena, stage, 1)
    wanted = json.loads(arena.evaluation.read_text())
    last = found["curve"][-1]
    assert last["sampled"] == pytest.approx(wanted["policy"]["pass@1"], abs=1e-12)
    assert last["greedy"] == pytest.approx(wanted["policy"]["greedy"], abs=1e-12)
    assert last["kl"] == pytest.approx(wanted["kl"], abs=1e-9)
    assert found["curve"][0]["greedy"] == pytest.approx(wanted["reference"]["greedy"], abs=1e-12)


def test_a_training_is_ended_when_its_time_is_up(workspace, tmp_path):
    trial = run_trial(
        Workspace(workspace),
        tmp_path / "short",
        SETTINGS["apo"],
        steps=100_000,
        checkpoint_every=1,
        keep=2,
        seconds=2.0,
        threads=1,
    )
    assert trial.collapsed is None
    assert trial.seconds[0] == stage1_seconds(trial.place) > 0
    assert 2.0 <= trial.seconds[-1] < 4.0
    assert trial.peak_rss_mib > 300


def test_a_collapse_is_told_from_an_end(workspace, tmp_path):
    settings = [*SETTINGS["apo"], "train.guard.window=1", "train.guard.max_kl=0.000001"]
    trial = run_trial(
        Workspace(workspace),
        tmp_path / "fallen",
        settings,
        steps=20,
        checkpoint_every=1,
        keep=2,
        seconds=None,
        threads=1,
    )
    assert trial.collapsed is not None
    assert "the policy collapsed" in trial.collapsed
    assert 1 <= len(trial.rows) < 20


def test_values_are_made_again_where_a_setting_says_so(workspace, tmp_path):
    arena = Workspace(workspace)
    lower = enter(arena, tmp_path / "lower", [*SETTINGS["apo"], "values.beta1=5.0"], 1)
    means = [read_table(place.values, VALUES)["v_star"].mean() for place in (lower, arena)]
    assert means[0] < means[1]
    same = enter(arena, tmp_path / "same", SETTINGS["apo"], 1)
    assert same.values.samefile(arena.values)
    assert stage1_seconds(same) == stage1_seconds(arena) != stage1_seconds(lower)
