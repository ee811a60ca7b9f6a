"""`benchmarks.comparison` measures the same as the pipeline's own stages."""

import json

import pytest

from apo_core.config.file import set_params
from apo_core.tables import VALUES, read_table
from benchmarks.comparison.run import run as run_compared
from benchmarks.comparison.trial import run_trial
from benchmarks.comparison.workspaces import make_training_workspace, run_stage, stage1_seconds
from tasks.workspace import Workspace

pytestmark = [pytest.mark.production, pytest.mark.with_engines]

OVERRIDES = {
    "apo": ["algorithm=apo", "train.batch_size=16"],
    "ppo": ["algorithm=ppo", "train.batch_size=16"],  # a critic beside the policy in its checkpoints
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_curve_ends_where_the_pipeline_does(workspace, tmp_path, name):
    seed_workspace = Workspace(workspace)
    measured = run_compared(
        seed_workspace, tmp_path / name, name, OVERRIDES[name], seconds=4.0, checkpoint_every=10, threads=1
    )
    steps = [point["step"] for point in measured["curve"]]
    assert steps == list(range(0, steps[-1] + 1, 10))
    assert [point["prompts"] for point in measured["curve"]] == [16 * step for step in steps]
    seconds = [point["seconds"] for point in measured["curve"]]
    assert seconds == sorted(seconds)
    assert seconds[0] == (stage1_seconds(seed_workspace) if name == "apo" else 0)
    assert 2.0 < seconds[-1] < 6.0
    before = 4 * 128 if name == "apo" else 0
    assert [point["generations"] for point in measured["curve"]] == [before + 16 * step for step in steps]

    set_params(seed_workspace.params, [*OVERRIDES[name], f"train.steps={steps[-1]}"])
    # Each in a process of its own: a rank leaves its port in the environment.
    for stage in ("train", "evaluate"):
        run_stage(seed_workspace, stage, 1)
    expected = json.loads(seed_workspace.evaluation.read_text())
    last = measured["curve"][-1]
    assert last["sampled"] == pytest.approx(expected["policy"]["pass@1"], abs=1e-12)
    assert last["greedy"] == pytest.approx(expected["policy"]["greedy"], abs=1e-12)
    assert last["kl"] == pytest.approx(expected["kl"], abs=1e-9)
    assert measured["curve"][0]["greedy"] == pytest.approx(expected["reference"]["greedy"], abs=1e-12)


def test_a_training_is_ended_when_its_time_is_up(workspace, tmp_path):
    trial = run_trial(
        Workspace(workspace),
        tmp_path / "short",
        OVERRIDES["apo"],
        steps=100_000,
        checkpoint_every=1,
        keep=2,
        seconds=2.0,
        threads=1,
    )
    assert trial.collapsed is None
    assert trial.seconds[0] == stage1_seconds(trial.workspace) > 0
    assert 2.0 <= trial.seconds[-1] < 4.0
    assert trial.peak_rss_mib > 300


def test_a_collapse_is_distinguished_from_an_end(workspace, tmp_path):
    overrides = [*OVERRIDES["apo"], "train.guard.window=1", "train.guard.max_kl=0.000001"]
    trial = run_trial(
        Workspace(workspace),
        tmp_path / "fallen",
        overrides,
        steps=20,
        checkpoint_every=1,
        keep=2,
        seconds=None,
        threads=1,
    )
    assert trial.collapsed is not None
    assert "the policy collapsed" in trial.collapsed
    assert 1 <= len(trial.rows) < 20


def test_v_star_is_computed_again_where_an_override_changes_it(workspace, tmp_path):
    seed_workspace = Workspace(workspace)
    lower = make_training_workspace(
        seed_workspace, tmp_path / "lower", [*OVERRIDES["apo"], "values.beta1=5.0"], 1
    )
    means = [read_table(each.values, VALUES)["v_star"].mean() for each in (lower, seed_workspace)]
    assert means[0] < means[1]
    same = make_training_workspace(seed_workspace, tmp_path / "same", OVERRIDES["apo"], 1)
    assert same.values.samefile(seed_workspace.values)
    assert stage1_seconds(same) == stage1_seconds(seed_workspace) != stage1_seconds(lower)
