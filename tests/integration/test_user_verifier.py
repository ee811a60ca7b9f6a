"""A user's own verifier in every stage: right, slow, raising and crashing."""

import json
import shutil

import pytest
from builders import execute, run_stage

from apo_core.config.file import set_params
from apo_core.tables import EVALUATIONS, SAMPLES, VALUES, read_table
from tasks.dvc.state import pending
from tasks.stages import evaluate, sample, train, validate, values
from tasks.workspace import Workspace

# Scores as `numeric` does, after the failure that a test puts at {failure}.
SOURCE = """
import os, re, time
def score(completion, answer, row):
    {failure}
    numbers = re.findall(r"-?\\d+", completion)
    return (bool(numbers) and numbers[-1] == answer, "by mine", numbers[-1] if numbers else None)
"""
SETTINGS = ("verifier.name=mine:score", "verifier.extract=[whole]", "verifier.time_limit_seconds=2.0")


def write_verifier(paths, failure="pass"):
    (paths.raw_verifiers / "mine.py").write_text(SOURCE.format(failure=failure))


@pytest.fixture
def paths(workspace):
    paths = Workspace(workspace)
    small = ("train.steps=2", "train.batch_size=8", "sampling.n=2", "evaluation.samples=1")
    set_params(paths.params, [*SETTINGS, *small])
    write_verifier(paths)
    return paths


def test_a_users_verifier_is_tried_before_any_training(workspace):
    paths = Workspace(workspace)
    write_verifier(paths)
    before = paths.params.read_bytes()
    command = "apo verify --set verifier.name=mine:score --set 'verifier.extract=[whole]'"
    assert "(100.0%)" in execute(command, workspace).stdout
    assert paths.params.read_bytes() == before


@pytest.mark.production
def test_a_users_verifier_scores_in_every_stage_and_a_change_reruns_them(paths):
    assert {"validate", "sample", "train", "evaluate"} <= set(pending(paths.root))
    output = execute("dvc repro", paths.root).stdout
    assert "error" not in output
    assert pending(paths.root) == []
    assert not list(paths.raw_verifiers.rglob("__pycache__"))
    assert set(read_table(paths.samples, SAMPLES)["reason"]) == {"by mine"}
    assert set(read_table(paths.evaluations, EVALUATIONS)["reason"]) == {"by mine"}
    # A changed verifier: the stages that score are pending, and their unfinished shards are dropped.
    (paths.raw_verifiers / "mine.py").write_text("def score(*_):\n    return 0.25, 'a quarter'\n")
    assert {"validate", "sample", "train", "evaluate"} <= set(pending(paths.root))
    assert "these have changed: verifier" in execute("dvc repro --single-item sample", paths.root).stdout
    assert set(read_table(paths.samples, SAMPLES)["reward"]) == {0.25}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("if '1' in completion: os._exit(9)", r"its process died (exit status 9)"),
        pytest.param(
            "if '1' in completion: time.sleep(60)", "took longer than 2 s", marks=pytest.mark.production
        ),
        pytest.param(
            "if '1' in completion: raise ValueError(completion)", "ValueError: ", marks=pytest.mark.production
        ),
    ],
)
def test_a_stage_fails_above_max_error_share_and_names_the_rows(paths, failure, reason):
    write_verifier(paths, failure)
    execute("apo stage validate", paths.root)
    before = paths.samples.read_bytes()
    done = execute("apo stage sample", paths.root, check=False)
    assert done.returncode == 2
    last = done.stdout.strip().splitlines()[-1]
    assert "the verifier failed on " in last
    assert " of 256 rows, more than verifier.max_error_share (0.01) allows: " in last
    assert reason in last
    assert "Traceback" not in done.stdout
    assert not paths.samples.exists() or paths.samples.read_bytes() == before


def test_below_the_share_errors_are_counted_and_left_out(paths):
    write_verifier(paths, "if completion.endswith('7'): raise ValueError('seven')")
    set_params(paths.params, ["verifier.max_error_share=0.6"])
    run_stage(validate, paths)
    facts = run_stage(sample, paths)
    samples = read_table(paths.samples, SAMPLES)
    failed = samples["text"].str.endswith("7")
    assert 0 < facts["verifier_errors"] == failed.sum()
    assert (samples["reward"].isna() == failed).all()
    assert set(samples.loc[failed, "reason"]) == {"error: ValueError: seven (mine.py:4)"}
    run_stage(values, paths)
    table = read_table(paths.values, VALUES).set_index("prompt_id")
    assert table["n"].to_dict() == samples.groupby("prompt_id")["reward"].count().to_dict()
    shutil.rmtree(paths.work("train"))
    run_stage(train, paths)
    steps = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    assert len(steps) == 2
    assert all("verifier_errors" not in step or step["verifier_errors"] > 0 for step in steps)
    facts = run_stage(evaluate, paths)
    evaluation = json.loads(paths.evaluation.read_text())
    rows = read_table(paths.evaluations, EVALUATIONS)
    assert facts["verifier_errors"] == rows["reward"].isna().sum() > 0
    for name in ("reference", "policy"):
        sampled = rows[(rows["policy"] == name) & (rows["sample_index"] >= 0)]
        assert evaluation[name]["errors"] == pytest.approx(sampled["reward"].isna().mean())


@pytest.mark.production
def test_every_sampling_worker_and_every_rank_has_processes_of_its_own(paths):
    set_params(paths.params, ["sampling.shard_prompts=32"])
    execute("apo stage validate", paths.root)
    run_stage(sample, paths)
    before = paths.samples.read_bytes()
    shutil.rmtree(paths.work("sample"))
    several = "--set sampling.workers=2 --set train.ranks=2"
    for stage in ("sample", "values", "train"):
        assert f"{stage}: ran" in execute(f"apo stage {stage} {several}", paths.root).stdout
    assert paths.samples.read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("verifier.name=nowhere:score", "verifier: verifier.name: nowhere:score: there is no module nowhere"),
        ("verifier.name=mine:nothing", "verifier: verifier.name: mine:nothing: module mine has no function"),
        (
            "verifier.name=reasoning_gym:nothing",
            "verifier: verifier.name: reasoning-gym has no task 'nothing'",
        ),
    ],
)
def test_a_verifier_that_is_not_there_is_refused_before_anything_runs(paths, setting, problem):
    done = execute(f"apo run --set {setting}", paths.root, check=False)
    assert done.returncode == 2
    assert problem in done.stdout.strip().splitlines()[-1]
    assert "Running stage" not in done.stdout
