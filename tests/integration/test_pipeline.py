"""From a clean clone to a registered model, and again."""

import hashlib
import json
import shutil

import pytest
from builders import execute, locked, run_stage

from apo_core.config.file import set_params
from apo_core.system.files import read_json
from apo_core.tables import EVALUATIONS, PROMPTS, VALUES, read_table, write_table
from tasks.stages import evaluate, report, train, values
from tasks.workspace import Workspace

pytestmark = pytest.mark.long

STAGES = ["reference", "prepare", "validate", "sample", "values", "train", "evaluate", "report"]


SAME = (
    "data/samples.parquet",
    "data/values.parquet",
    "data/policy/model.safetensors",
    "reports/eval.json",
    "reports/samples.md",
)


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_summary_keeps_its_contract(summary):
    assert summary["model"] == {"name": "apo-ci", "version": "1", "aliases": ["candidate", "champion"]}
    assert set(summary["decision"]) == {"outcome", "reason", "confirmed"}
    assert summary["decision"]["outcome"] == "promote"
    (confirmed,) = summary["decision"]["confirmed"]
    assert (confirmed["against"], confirmed["alpha"]) == ("reference", 0.05)
    assert 0 < confirmed["low"] < confirmed["gain"] < confirmed["high"]
    assert confirmed["gain"] != summary["eval"]["gain"]
    assert f"{confirmed['gain']:+.3f}" in summary["decision"]["reason"]
    evaluation = summary["eval"]
    assert evaluation["prompts"] == 96
    for name in ("reference", "policy"):
        low, high = evaluation[name]["ci95"]
        assert low < evaluation[name]["pass@1"] < high
    assert evaluation["gain"] == pytest.approx(
        evaluation["policy"]["pass@1"] - evaluation["reference"]["pass@1"]
    )
    assert 0 < evaluation["gain_ci95"][0] < evaluation["gain"] < evaluation["gain_ci95"][1]
    assert evaluation["kl"] > 0
    values_summary = summary["values"]
    assert (values_summary["prompts"], values_summary["n"], values_summary["beta1"]) == (128, 4, 0.5)
    # Success rates are much alike: four wrong responses do not make a prompt one that is never solved.
    assert (values_summary["kept"], values_summary["dropped"]) == (128, {})
    assert (summary["train"]["steps"], summary["train"]["prompts_per_step"]) == (32, 128)
    assert summary["train"]["peak_rss_mib"] > 100
    assert sorted(summary["seconds"]) == sorted(STAGES)
    assert len(summary["lineage"]["fingerprint"]) == 64


def test_the_lineage_is_that_of_the_files(finished, summary):
    assert summary["lineage"]["dvc_lock_sha256"] == sha256(finished / "dvc.lock")
    assert summary["lineage"]["git_commit"] == execute("git rev-parse HEAD", finished).stdout.strip()


def test_the_run_ends_with_the_table(first_run):
    assert "paired) on 96" in first_run
    assert "apo-ci version 1 (candidate, champion)" in first_run


def test_every_stage_shows_its_log_under_its_own_name(first_run):
    for stage in STAGES:
        assert f"Task run '{stage}' - {stage}: ran" in first_run


def test_the_run_is_in_mlflow_with_every_step_once(finished, summary):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{finished}/.apo/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("apo-flow").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["values.beta1"] == "0.5"
    assert run.data.tags["dvc_lock_sha256"] == sha256(finished / "dvc.lock")
    confirmed = summary["decision"]["confirmed"][0]["gain"]
    assert run.data.metrics["confirmed/gain_over_reference"] == confirmed
    assert f"{confirmed:+.3f}" in client.get_model_version("apo-ci", "1").tags["confirmed_gain"]
    for name in ("loss", "reward", "advantage", "kl", "response_length", "truncated", "gradient_norm"):
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted(point.step for point in history) == list(range(1, 33)), name
    assert not (finished / "mlruns").exists()
    tables = {file.path for file in client.list_artifacts(run.info.run_id, "tables")}
    assert tables == {f"tables/{name}.parquet" for name in ("values", "evaluations", "confirmation")}
    assert "reports/samples.md" in [file.path for file in client.list_artifacts(run.info.run_id, "reports")]


def test_the_champion_loads_back_and_generates(finished):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{finished}/.apo/mlflow.db")
    generate = mlflow.transformers.load_model("models:/apo-ci@champion")
    text = generate("5-4+3=", do_sample=False)[0]["generated_text"]
    assert text.startswith("5-4+3=")
    assert "#" in text


def test_nothing_is_run_or_registered_twice(finished, summary):
    with locked(finished):
        again = execute("make run", finished).stdout
        status = execute("dvc status", finished).stdout
        reproduced = execute("dvc repro", finished).stdout
    for stage in STAGES:
        assert f"{stage}: unchanged" in again
    assert json.loads((finished / "reports/summary.json").read_text()) == summary
    assert "up to date" in status
    assert "Running stage" not in reproduced


@pytest.mark.production
def test_dvc_alone_makes_the_same_tables_from_the_reference_on(workspace):
    """Run DVC in another checkout, without Prefect and without outputs derived from the reference policy."""
    before = {name: sha256(workspace / name) for name in SAME}
    for name in ("data/policy", "data/unfinished", "reports/plots", "reports/validation"):
        shutil.rmtree(workspace / name)
    for file in [*workspace.glob("data/*.*"), *workspace.glob("reports/*.*")]:
        file.unlink()
    shutil.rmtree(workspace / ".dvc/cache/runs")  # DVC would take the finished outputs from its cache
    execute("dvc repro --force --downstream prepare", workspace)
    assert {name: sha256(workspace / name) for name in SAME} == before


def test_several_sets_are_evaluated_at_once_in_whatever_shards(workspace):
    paths = Workspace(workspace)
    before, whole = read_table(paths.evaluations, EVALUATIONS), read_json(paths.evaluation)
    prompts = read_table(paths.prompts, PROMPTS)
    held_out = prompts.index[prompts["split"] == "eval"]
    prompts.loc[held_out[:32], "set"] = "first"
    prompts.loc[held_out[::2], "group"] = "even"
    prompts.loc[held_out[1::2], "group"] = "odd"
    write_table(paths.prompts, prompts, PROMPTS)
    set_params(paths.params, ["evaluation.batch_size=40"])
    run_stage(evaluate, paths)
    after, evaluation = read_table(paths.evaluations, EVALUATIONS), read_json(paths.evaluation)
    assert after.drop(columns="log_ratio").equals(before.drop(columns="log_ratio"))
    assert evaluation["gain"] == whole["gain"]
    assert {name: block["prompts"] for name, block in evaluation["sets"].items()} == {
        "arithmetic": 64,
        "first": 32,
    }
    assert {name: block["prompts"] for name, block in evaluation["groups"].items()} == {"even": 48, "odd": 48}
    gains = {name: block["gain"] * block["prompts"] for name, block in evaluation["sets"].items()}
    assert sum(gains.values()) == pytest.approx(evaluation["gain"] * 96)
    assert "| set | prompt | answer |" in paths.examples.read_text()
    facts = run_stage(report, paths)
    assert facts["against_reference"] == json.loads(paths.report.read_text())["decision"]["outcome"]


def test_only_prompts_within_the_band_are_trained_on(workspace):
    paths = Workspace(workspace)
    pooled = read_table(paths.values, VALUES)
    band = ["values.drop_solved=true", "values.keep_mean_reward=[0.4, 0.8]"]
    set_params(paths.params, ["values.estimate=published", *band])
    facts = run_stage(values, paths)
    table = read_table(paths.values, VALUES)
    assert table.drop(columns=["v_star", "dropped"]).equals(pooled.drop(columns=["v_star", "dropped"]))
    assert table["v_star"].std() > pooled["v_star"].std()
    kept = table[table["dropped"].isna()]
    assert set(kept["mean_reward"]) == {0.5, 0.75}  # N is 4
    assert facts["kept"] == len(kept) > 0
    assert set(table["dropped"].dropna()) == {"unsolved", "solved", "too hard"}
    # The mean success rate is 0.4, so most of those that four responses did not solve are solvable.
    assert facts["dropped_unsolved"] / 2 < facts["dropped_but_solvable"] <= facts["dropped_unsolved"]
    for reason, count in table["dropped"].value_counts().items():
        assert facts[f"dropped_{reason}"] == count
    set_params(paths.params, ["train.steps=1", "train.batch_size=4"])
    run_stage(train, paths)
    run_stage(report, paths)
    reported = json.loads(paths.report.read_text())["values"]
    assert reported["dropped"] == dict(table["dropped"].value_counts())
    assert reported["dropped_but_solvable"] == facts["dropped_but_solvable"]


def test_a_reference_in_bfloat16_rounds_the_kl(workspace):
    (before, *_) = (workspace / "data/metrics.jsonl").read_text().splitlines()
    set_params(workspace / "params.yaml", ["train.steps=1", "train.reference_dtype=bfloat16"])
    run_stage(train, Workspace(workspace))
    expected, actual = json.loads(before), json.loads((workspace / "data/metrics.jsonl").read_text())
    for name in ("reward", "response_length", "value"):  # these do not depend on the KL
        assert actual[name] == expected[name]
    assert 1e-5 < abs(actual["kl"] - expected["kl"]) < 0.1


def test_values_are_the_same_bytes_when_removed_and_when_computed_again(workspace):
    before = sha256(workspace / "data/values.parquet")
    (workspace / "data/values.parquet").unlink()
    execute("dvc repro", workspace)
    assert sha256(workspace / "data/values.parquet") == before
    execute("dvc repro --single-item --force --no-run-cache values", workspace)
    assert sha256(workspace / "data/values.parquet") == before
