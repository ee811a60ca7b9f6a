"""Messages of a run to a webhook: a failure in one line, then the outcome and a request for approval."""

import pytest
from builders import execute
from mlflow import MlflowClient
from webhook_receiver import PATH, SECRET, receiving


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


def message_of_unchanged_runs(workspace, receiver):
    """The message that did not arrive, of the next run and of no other; that also closes MLflow's run."""
    client = MlflowClient(f"sqlite:///{workspace / '.apo/mlflow.db'}")
    run_id = client.get_model_version("apo-ci", "1").run_id
    client.update_run(run_id, "RUNNING")  # as after a run that is killed right before its end
    receiver.refused = ""
    receiver.received.clear()
    for _ in range(2):
        assert "nothing changed" in execute("apo run", workspace, env=receiver.env).stdout
    assert client.get_run(run_id).info.status == "FINISHED"
    (message,) = receiver.received
    assert message["occasion"] == "approval wanted"
    return message


@pytest.mark.production
def test_a_failure_and_an_approval_request_are_sent(workspace, receiver):
    collapses = "apo run --set train.learning_rate=0.001 --set train.guard.max_kl=0.000001"
    failed = execute(collapses, workspace, check=False, env=receiver.env)
    assert failed.returncode == 2, failed.stdout
    (failure,) = receiver.received
    assert (failure["occasion"], failure["model"]) == ("failure", "apo-ci")
    assert "KL" in failure["text"] and "\n" not in failure["text"]
    assert "/runs/flow-run/" in failure["links"]["run"]

    receiver.received.clear()
    again = (
        "apo run --set train.learning_rate=0.00015 --set train.guard.max_kl=100"
        " --set promotion.approval=manual"
    )
    receiver.refused = "approval wanted"
    done = execute(again, workspace, env=receiver.env)
    assert "wanted: apo approve apo-ci 1 --by" in " ".join(done.stdout.split())
    (outcome,) = receiver.received
    assert outcome["occasion"] == "outcome"
    message = message_of_unchanged_runs(workspace, receiver)
    assert outcome["text"].startswith("promote: better than the reference")
    assert outcome["links"].keys() >= {"run"}
    assert "apo approve apo-ci 1 --by NAME --reason WHY" in message["text"]
    for secret in (SECRET, PATH):
        assert secret not in failed.stdout + done.stdout + (workspace / ".apo/logs/prefect.log").read_text()
