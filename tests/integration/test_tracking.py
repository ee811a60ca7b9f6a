"""MLflow's own sqlite store: every step once, no run left open, a registry that is looked at."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path

import mlflow
import pytest
from builders import ROOT, execute
from mlflow.exceptions import MlflowException

from apo_core.config.file import load_params
from apo_core.errors import StageRefused
from apo_core.system.files import sha256_of
from apo_core.tables import EVALUATIONS, read_metadata, read_table, write_table
from apo_core.training.metrics import append_metrics
from tasks.decisions.confirmation import ask_afresh
from tasks.decisions.decide import propose
from tasks.decisions.log import open_log
from tasks.decisions.promote import promote
from tasks.integrity.run_artifacts import CONFIRMATION
from tasks.reporting.summary import finished_summary, refresh_summary
from tasks.responses.confirmation import Request, answers
from tasks.tracking import runs
from tasks.tracking.registry import champion, find
from tasks.tracking.runs import log_steps, start_run, stream_metrics
from tasks.tracking.store import connect, tracking_uri
from tasks.workspace import Workspace


@pytest.fixture
def copied(finished, workspace) -> Workspace:
    """A finished workspace with a copy of its registry, and of the log of its decisions."""
    state = workspace / ".apo"
    state.mkdir(exist_ok=True)
    shutil.copyfile(finished / ".apo/mlflow.db", state / "mlflow.db")
    for name in ("audit", "mlartifacts"):
        shutil.copytree(finished / ".apo" / name, state / name)
    return Workspace(workspace)


@pytest.fixture
def client(copied, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied.state / 'mlflow.db'}")
    return connect(copied)


def row(step, **values):
    return {"step": step, "time": time.time(), "loss": step / 10, **values}


def steps(client, run_id):
    return [point.step for point in client.get_metric_history(run_id, "loss")]


def test_a_step_that_is_done_again_is_one_point(client, copied, tmp_path):
    run_id = start_run(client, copied, load_params(copied.params), {})
    file = tmp_path / "metrics.jsonl"
    append_metrics(file, row(9))  # another training's: it was there before
    for last in (3, 5):  # killed at step 3, resumed at step 1: steps 2 and 3 are recorded again
        time.sleep(0.01)
        with stream_metrics(client, run_id, file, pytest.fail, every=0.1):
            file.write_text("")
            for step in range(1, last + 1):
                append_metrics(file, row(step))
    assert steps(client, run_id) == [1, 2, 3, 4, 5]


def test_steps_are_sent_when_the_server_is_back(client, copied, tmp_path, monkeypatch):
    run_id, file = (
        start_run(client, copied, load_params(copied.params), {}),
        tmp_path / "metrics.jsonl",
    )
    answers, said = [MlflowException("restarting")], []

    def asked(*arguments):
        if answers:
            raise answers.pop()
        return steps_of(*arguments)

    steps_of = runs._steps_of
    monkeypatch.setattr(runs, "_steps_of", asked)
    with stream_metrics(client, run_id, file, said.append, every=0.1):
        append_metrics(file, row(1))
        while not said:
            time.sleep(0.01)
        append_metrics(file, row(2))
    assert steps(client, run_id) == [1, 2]
    assert said == ["MLflow did not take 1 steps, they are sent again: restarting"]


def test_a_step_is_two_points_if_it_is_sent_twice(client, copied):
    """Without the check of `stream_metrics`, the test above would find two points."""
    run_id = start_run(client, copied, load_params(copied.params), {})
    log_steps(client, run_id, [row(1)])
    time.sleep(0.01)
    log_steps(client, run_id, [row(1)])
    assert steps(client, run_id) == [1, 1]


def test_a_killed_run_is_closed_by_the_next_one_of_its_workspace(client, copied, tmp_path):
    params = load_params(copied.params)
    killed = start_run(client, copied, params, {})
    others = start_run(client, Workspace(tmp_path), params, {})
    own = start_run(client, copied, params, {})
    statuses = [client.get_run(run_id).info.status for run_id in (killed, others, own)]
    assert statuses == ["KILLED", "RUNNING", "RUNNING"]


def test_nothing_counts_as_done_once_its_version_is_gone(client, copied):
    done, log = finished_summary(copied), open_log(copied, "apo-ci")
    assert refresh_summary(log, done) == (done, True)
    client.delete_registered_model_alias("apo-ci", "champion")
    refreshed, holds = refresh_summary(log, done)
    assert (refreshed.model.aliases, holds) == (["candidate"], True)
    client.delete_model_version("apo-ci", "1")
    assert not refresh_summary(log, done)[1]


def texts(rows, policy):
    return rows.loc[rows["policy"] == policy, "text"].tolist()


def test_who_passed_is_asked_afresh_by_its_own_hash(client, copied):
    own, current, lines = sha256_of(copied.policy), champion(client, "apo-ci"), []
    rows = ask_afresh(client, copied, policy_sha256=own, current=current, log=lines.append)
    assert set(rows["policy"]) == {"policy", "reference", "champion"}
    assert texts(rows, "champion") == texts(rows, "policy")  # it is the same model, and has the same key
    evaluated = read_table(copied.evaluations, EVALUATIONS)
    sampled = evaluated[evaluated["sample_index"] >= 0]
    assert len(texts(rows, "reference")) == len(texts(sampled, "reference"))
    assert texts(rows, "reference") != texts(sampled, "reference")
    shards = {file: file.stat().st_mtime_ns for file in copied.work("confirm").glob("*.parquet")}
    assert len(shards) == 9
    assert ask_afresh(client, copied, policy_sha256=own, current=current, log=lines.append).equals(rows)
    assert shards == {file: file.stat().st_mtime_ns for file in copied.work("confirm").glob("*.parquet")}
    assert any("shards were finished before" in line for line in lines)
    assert not copied.work("champion").exists()
    others = ask_afresh(client, copied, policy_sha256="another", current=None, log=lines.append)
    assert set(others["policy"]) == {"policy", "reference"}
    assert texts(others, "reference") != texts(rows, "reference")


def test_the_champions_responses_are_read_as_its_own_template_opens_them(client, copied, tmp_path):
    """After a prompt that opens a thinking part nothing is an answer before that part is closed."""
    current = champion(client, "apo-ci")
    params, tags = copied.params.read_text(), '["<think>", "</think>"]'
    assert 'text: "{prompt}"' in params and tags in params
    others = '["--", "++"]'  # what its few letters can write
    copied.params.write_text(params.replace(tags, others))
    metadata = read_metadata(copied.evaluations)
    metadata["fingerprint"]["verifier"] = metadata["fingerprint"]["verifier"].replace(tags, others)
    write_table(copied.evaluations, read_table(copied.evaluations, EVALUATIONS), EVALUATIONS, metadata)
    own_params = client.download_artifacts(current.run_id, "lineage/params.yaml", str(tmp_path))
    Path(own_params).write_text(params.replace('text: "{prompt}"', 'text: "{prompt}--"'))
    client.log_artifact(current.run_id, own_params, "lineage")
    client.set_tag(current.run_id, "params_sha256", sha256_of(Path(own_params)))
    own = sha256_of(copied.policy)
    rows = ask_afresh(client, copied, policy_sha256=own, current=current, log=print)
    unclosed = rows.groupby("policy")["reason"].agg(lambda own: own.str.contains("thinking part").mean())
    assert unclosed["champion"] > 0.95
    assert max(unclosed["policy"], unclosed["reference"]) < 0.05


def test_a_run_that_is_process_1_confirms(copied, client):
    """As in a container whose only command it is: its children's parent is process 1 then, too."""
    program = "from pathlib import Path; from tasks.dvc.run import run_process; "
    program += "run_process(Path(), 'confirm', print)"
    Request(policy_sha256=sha256_of(copied.policy), champion=None).write(copied)
    inside = f"unshare --pid --fork --mount-proc {sys.executable} -P -c {shlex.quote(program)}"
    said = execute(inside, copied.root, env={"PYTHONPATH": str(ROOT)}).stdout
    assert "evaluate-policy" in said
    assert answers(copied).exists()


def test_what_was_edited_since_the_evaluation_is_not_asked_under(copied, client):
    params = copied.params.read_text()
    assert "temperature: 1.0" in params
    copied.params.write_text(params.replace("temperature: 1.0", "temperature: 0.5"))
    with pytest.raises(
        StageRefused, match=r"evaluations\.parquet: the table was made under other conditions"
    ):
        ask_afresh(client, copied, policy_sha256="a", current=None, log=print)


def equal_to_the_reference(copied):
    """A workspace whose policy is no better than the reference, whatever its evaluation says."""
    shutil.rmtree(copied.policy)
    shutil.copytree(copied.reference, copied.policy)
    copied.lock.unlink()  # else the policy is not what the stage wrote
    return load_params(copied.params), open_log(copied, "apo-ci")


def test_luck_in_the_evaluation_is_not_promoted(client, copied):
    params, log = equal_to_the_reference(copied)
    run_id = start_run(client, copied, params, {})
    decision, registered = promote(log, copied, params, run_id=run_id, started_by="Ada", tags={})
    assert decision.outcome == "reject"
    assert "by its evaluation better than the reference" in decision.reason
    assert "by fresh responses worse than the champion (version 1)" in decision.reason
    assert "98.33% interval" in decision.reason  # the second look, of the confirmation too
    assert decision.confirmed
    assert [gain.against for gain in decision.gains] == ["reference", "champion (version 1)"]
    assert [round(gain.alpha, 4) for gain in decision.gains] == [0.0167, 0.0167]
    assert registered is None
    assert [file.path for file in client.list_artifacts(run_id, "tables")] == [CONFIRMATION]
    assert client.get_run(run_id).data.tags["confirmation_sha256"] == sha256_of(answers(copied))


def test_nor_is_it_where_there_is_no_champion(client, copied):
    params, _ = equal_to_the_reference(copied)
    params = params.model_copy(update={"tracking": params.tracking.model_copy(update={"model": "another"})})
    log, run_id = open_log(copied, "another"), start_run(client, copied, params, {})
    decision, registered = promote(log, copied, params, run_id=run_id, started_by="Ada", tags={})
    assert decision.outcome == "hold"
    assert "by fresh responses not shown to be better than the reference" in decision.reason
    assert registered is None


@pytest.mark.production
def test_a_champion_that_changes_meanwhile_is_compared_with(client, copied, monkeypatch):
    params, log = load_params(copied.params), open_log(copied, "apo-ci")
    params = params.model_copy(update={"tracking": params.tracking.model_copy(update={"model": "another"})})
    log, run_id = open_log(copied, "another"), start_run(client, copied, params, {})

    def another_wins(*arguments, **named):
        monkeypatch.setattr("tasks.decisions.promote.ask_afresh", ask_afresh)
        rows = ask_afresh(*arguments, **named)
        source = client.get_model_version("apo-ci", "1").source
        other = client.create_model_version("another", source, run_id=champion(client, "apo-ci").run_id)
        propose(
            log,
            find(client, "another", str(other.version)),
            params.promotion,
            started_by="Bob",
            evidence={"champion": None},
        )
        return rows

    client.create_registered_model("another")
    monkeypatch.setattr("tasks.decisions.promote.ask_afresh", another_wins)
    decision, registered = promote(log, copied, params, run_id=run_id, started_by="Ada", tags={})
    assert decision.outcome == "hold"  # they are the same policy
    assert "not shown to be better than the champion (version 1)" in decision.reason
    assert (registered.version, registered.aliases) == ("2", [])
    assert champion(client, "another").version == "1"


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (lambda client, run_id: None, "has no artifact lineage/params.yaml"),
        (lambda client, run_id: client.delete_run(run_id), "has no artifact lineage/params.yaml"),
        (
            lambda client, run_id: with_params(client, run_id, "template: nonsense\n"),
            "what the champion needs",
        ),
    ],
)
def test_a_champion_that_cannot_be_asked_holds_the_candidate(client, copied, lost, said):
    run = client.create_run("0")  # a champion registered by another program
    source = client.get_model_version("apo-ci", "1").source
    version = client.create_model_version("apo-ci", source, run_id=run.info.run_id)
    params, log = load_params(copied.params), open_log(copied, "apo-ci")
    registered = find(client, "apo-ci", str(version.version))
    propose(log, registered, params.promotion, started_by="Ada", evidence={})
    lost(client, run.info.run_id)
    decision, registered = promote(log, copied, params, run_id=run.info.run_id, started_by="Ada", tags={})
    assert decision.outcome == "hold"
    assert "the champion (version 2) cannot be evaluated: " in decision.reason
    assert said in decision.reason
    assert registered.version == "1"
    assert champion(client, "apo-ci").version == "2"
    assert not copied.work("champion").exists()


def with_params(client, run_id, text):
    client.log_text(run_id, text, "lineage/params.yaml")


def test_every_comparison_on_the_same_prompts_is_a_look(client, copied):
    params, log = load_params(copied.params), open_log(copied, "apo-ci")

    def decide_again():
        decision, _ = promote(log, copied, params, run_id="", started_by="Ada", tags={})
        return decision.reason, [entry.evidence["look"] for entry in log.read() if entry.event == "compared"]

    reason, looks = decide_again()  # the champion is compared with nobody
    assert looks == [1]
    assert reason.startswith("it is the champion already: better than the reference")
    # The evaluation of another policy, to the same prompts.
    rows = read_table(copied.evaluations, EVALUATIONS)
    rows.loc[rows["policy"] == "policy", "reward"] = 0.0
    write_table(copied.evaluations, rows, EVALUATIONS, read_metadata(copied.evaluations))
    (copied.policy / "generation_config.json").write_text("{}")
    copied.lock.unlink()  # else this is not what the stages wrote
    reason, looks = decide_again()
    assert looks == [1, 2]
    assert reason.startswith("worse than the reference")
    assert reason.endswith("look 2 at these evaluation prompts needs 98.33%")
    assert decide_again() == (reason, looks)
    unable = params.model_copy(
        update={"promotion": params.promotion.model_copy(update={"min_prompts": 9999})}
    )
    decision, _ = promote(log, copied, unable, run_id="", started_by="Ada", tags={})
    assert "too few" in decision.reason
    assert len(log.read()) == 4  # two looks, a candidate and its approval


def test_the_embedded_store_is_the_workspaces_own(copied, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(copied) == f"sqlite:///{copied.state.resolve() / 'mlflow.db'}"
    assert mlflow.MlflowClient(tracking_uri(copied)).get_registered_model("apo-ci").name == "apo-ci"


def test_a_second_run_is_refused_while_one_is_at_work(copied):
    from tasks.lock import only_run

    before = json.loads(copied.summary.read_text())
    with only_run(copied):
        for command in ("apo run --set seed=3", "apo stage values --force"):
            done = execute(command, copied.root, check=False)
            assert done.returncode == 2
            assert "another run is at work here" in done.stdout.strip().splitlines()[-1]
            assert "Traceback" not in done.stdout
    assert json.loads(copied.summary.read_text()) == before
    assert "seed: 0" in copied.params.read_text()
