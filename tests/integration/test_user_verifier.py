"""A verifier of the user's own through the stages, well behaved and not."""

import json
import shutil

import pytest
from builders import execute, run_stage

from apo_core.config.file import set_params
from apo_core.tables import EVALUATIONS, SAMPLES, VALUES, read_table
from tasks.dvc.state import pending
from tasks.stages import evaluate, sample, train, validate, values
from tasks.workspace import Workspace

# Right as `numeric` is, and as unreliable as its second line says.
SOURCE = """
import os, re, time
def score(completion, answer, row):
    {failure}
    numbers = re.findall(r"-?\\d+", completion)
    return (bool(numbers) and numbers[-1] == answer, "by mine", numbers[-1] if numbers else None)
"""
SETTINGS = ("verifier.name=mine:score", "verifier.extract=[whole]", "verifier.time_limit_seconds=2.0")


def write(place, failure="pass"):
    (place.raw_verifiers / "mine.py").write_text(SOURCE.format(failure=failure))


@pytest.fixture
def place(workspace):
    place = Workspace(workspace)
    small = ("train.steps=2", "train.batch_size=8", "sampling.n=2", "evaluation.samples=1")
    set_params(place.params, [*SETTINGS, *small])
    write(place)
    return place


def test_it_scores_every_stage_and_its_change_reruns_them(place):
    assert {"validate", "sample", "train", "evaluate"} <= set(pending(place.root))
    output = execute("dvc repro", place.root).stdout
    assert "error" not in output
    assert pending(place.root) == []
    assert not list(place.raw_verifiers.rglob("__pycache__"))
    assert set(read_table(place.samples, SAMPLES)["reason"]) == {"by mine"}
    assert set(read_table(place.evaluations, EVALUATIONS)["reason"]) == {"by mine"}
    # It changes: the stages that score are to run, and what they had begun is not gone on with.
    (place.raw_verifiers / "mine.py").write_text("def score(*_):\n    return 0.25, 'a quarter'\n")
    assert {"validate", "sample", "train", "evaluate"} <= set(pending(place.root))
    assert "these have changed: verifier" in execute("dvc repro --single-item sample", place.root).stdout
    assert set(read_table(place.samples, SAMPLES)["reward"]) == {0.25}


FAILURES = {
    "if '1' in completion: time.sleep(60)": "took longer than 2 s",
    "if '1' in completion: raise ValueError(completion)": "ValueError: ",
    "if '1' in completion: os._exit(9)": r"its process died (exit status 9)",
}


@pytest.mark.parametrize(("failure", "reason"), FAILURES.items())
def test_a_stage_fails_above_the_share_and_says_which_rows(place, failure, reason):
    write(place, failure)
    run_stage(validate, place)
    before = place.samples.read_bytes()
    done = execute("apo stage sample", place.root, check=False)
    assert done.returncode == 2
    last = done.stdout.strip().splitlines()[-1]
    assert "the verifier failed on " in last
    assert " of 256 rows, more than verifier.max_error_share (0.01) allows: " in last
    assert reason in last
    assert "Traceback" not in done.stdout
    assert not place.samples.exists() or place.samples.read_bytes() == before


def test_below_the_share_errors_are_counted_and_take_no_part(place):
    write(place, "if completion.endswith('7'): raise ValueError('seven')")
    set_params(place.params, ["verifier.max_error_share=0.6"])
    run_stage(validate, place)
    facts = run_stage(sample, place)
    samples = read_table(place.samples, SAMPLES)
    failed = samples["text"].str.endswith("7")
    assert 0 < facts["verifier_errors"] == failed.sum()
    assert (samples["reward"].isna() == failed).all()
    assert set(samples.loc[failed, "reason"]) == {"error: ValueError: seven"}
    run_stage(values, place)
    table = read_table(place.values, VALUES).set_index("prompt_id")
    assert table["n"].to_dict() == samples.groupby("prompt_id")["reward"].count().to_dict()
    shutil.rmtree(place.work("train"))
    run_stage(train, place)
    steps = [json.loads(line) for line in place.metrics.read_text().splitlines()]
    assert len(steps) == 2
    assert all("verifier_errors" not in step or step["verifier_errors"] > 0 for step in steps)
    facts = run_stage(evaluate, place)
    found = json.loads(place.evaluation.read_text())
    rows = read_table(place.evaluations, EVALUATIONS)
    assert facts["verifier_errors"] == rows["reward"].isna().sum() > 0
    for name in ("reference", "policy"):
        sampled = rows[(rows["policy"] == name) & (rows["sample_index"] >= 0)]
        assert found[name]["errors"] == pytest.approx(sampled["reward"].isna().mean())


def test_every_sampling_worker_and_every_rank_has_processes_of_its_own(place):
    set_params(place.params, ["sampling.shard_prompts=32"])
    run_stage(validate, place)
    run_stage(sample, place)
    before = place.samples.read_bytes()
    shutil.rmtree(place.work("sample"))
    several = "--set sampling.workers=2 --set train.ranks=2"
    for stage in ("sample", "values", "train"):
        assert f"{stage}: ran" in execute(f"apo stage {stage} {several}", place.root).stdout
    assert place.samples.read_bytes() == before


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
def test_a_verifier_that_is_not_there_is_refused_before_anything_runs(place, setting, problem):
    done = execute(f"apo run --set {setting}", place.root, check=False)
    assert done.returncode == 2
    assert problem in done.stdout.strip().splitlines()[-1]
    assert "Running stage" not in done.stdout
