"""A decision without permission or without a server fails with one line of error and changes nothing."""

import re

import pytest
from builders import execute
from mlflow import MlflowClient

from flows.workspaces import load_preset
from tasks.decisions.decide import propose, reconcile
from tasks.decisions.log import open_log, open_store, read_log
from tasks.tracking.registry import find
from tasks.workspace import Workspace

pytestmark = [pytest.mark.servers, pytest.mark.long]  # its own server hashes passwords slowly: first

MODEL = "apo-refusals"
READER = {"MLFLOW_TRACKING_USERNAME": "onlooker", "MLFLOW_TRACKING_PASSWORD": "reads-and-nothing-more"}
APPROVER = {"MLFLOW_TRACKING_USERNAME": "approver", "MLFLOW_TRACKING_PASSWORD": "may-edit-this-model"}
RULES = load_preset("ci").promotion.model_copy(update={"approval": "manual"})


@pytest.fixture
def workspace(tmp_path, client_env):
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """What tests share: the server takes seconds for whatever it is asked."""
    return {}


@pytest.fixture
def undecided(workspace, client_env, made):
    """One version for all decisions that cannot be made."""
    if not made:
        made["version"] = new_version(workspace, client_env)
    return made["version"]


@pytest.fixture
def waiting(workspace, client_env):
    """A version of its own, on real servers, that waits for its approval."""
    return new_version(workspace, client_env)


def new_version(workspace, client_env):
    log = open_log(workspace, MODEL)
    client = log.client
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
        _make_accounts(client_env)
    return candidate(log)


def candidate(log, rules=RULES):
    version = str(log.client.create_model_version(log.model, "s3://mlflow/nowhere").version)
    propose(log, find(log.client, log.model, version), rules, started_by="Ada", evidence={})
    return version


def accounts(env):
    """A client of MLflow's accounts, with an administrator's rights."""
    from mlflow.server import get_app_client  # its import creates ./mlruns when no tracking URI is set

    return get_app_client("basic-auth", tracking_uri=env["MLFLOW_TRACKING_URI"])


def _make_accounts(env):
    for account in (READER, APPROVER):
        name, password = account["MLFLOW_TRACKING_USERNAME"], account["MLFLOW_TRACKING_PASSWORD"]
        accounts(env).create_user(name, password)


def state(workspace):
    client = MlflowClient()
    return read_log(open_store(workspace), MODEL), client.get_registered_model(MODEL).aliases


WRONG = {
    "a reader": (READER, "PERMISSION_DENIED|Permission denied|403"),
    "a wrong password": ({"MLFLOW_TRACKING_PASSWORD": "wrong"}, "401|not authenticated"),
    "no server": (
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        "refused",
    ),
    "no bucket": ({"APO_AUDIT_URI": "s3://nowhere/apo"}, "s3://nowhere/apo: .*NoSuchBucket"),
    "a wrong key": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://audit/apo: .*(SignatureDoesNotMatch|403)"),
    "no object store": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
        "s3://audit/apo: ",
    ),
}


@pytest.mark.parametrize("what", list(WRONG))
@pytest.mark.parametrize("word", ["approve", "reject"])
def test_a_decision_that_cannot_be_made_changes_nothing(undecided, workspace, client_env, what, word):
    before = state(workspace)
    wrong_env, problem = WRONG[what]
    done = execute(
        f"apo {word} {MODEL} {undecided} --by Bob --reason 'it is good'",
        workspace.root,
        check=False,
        env=client_env | wrong_env,
    )
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(problem, last), last
    for secret in (client_env["MLFLOW_TRACKING_PASSWORD"], client_env["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in done.stdout
    assert state(workspace) == before


def test_an_account_that_may_edit_the_model_decides(waiting, workspace, client_env):
    """EDIT, as docs/operations.md grants it, does not allow an account to remove an alias."""
    grant = accounts(client_env).grant_user_permission
    grant(APPROVER["MLFLOW_TRACKING_USERNAME"], "registered_model", MODEL, "EDIT")

    def said(word, version):
        command = f"apo {word} {MODEL} {version} --by Bob --reason 'as it is'"
        return execute(command, workspace.root, check=False, env=client_env | APPROVER)

    approved = said("approve", waiting)
    assert approved.returncode == 0, approved.stdout
    assert state(workspace)[1] == {"candidate": waiting, "champion": waiting}
    log = open_log(workspace, MODEL)
    second = candidate(log)
    rejected = said("reject", second)
    assert (rejected.returncode, "says rejected, and holds" in rejected.stdout) == (2, True), rejected.stdout
    assert reconcile(log) == [f"{MODEL}: candidate is no version"]
    assert state(workspace)[1] == {"champion": waiting}


@pytest.mark.production
def test_four_eyes_are_two_accounts_where_the_server_has_accounts(waiting, workspace, client_env):
    model = "apo-four-eyes"
    log = open_log(workspace, model)
    log.client.create_registered_model(model)
    version = candidate(log, RULES.model_copy(update={"four_eyes": True}))  # the administrator starts the run
    grant = accounts(client_env).grant_user_permission
    grant(APPROVER["MLFLOW_TRACKING_USERNAME"], "registered_model", model, "EDIT")

    def said(**env):
        command = f"apo approve {model} {version} --by Bob --reason 'as it is'"
        done = execute(command, workspace.root, check=False, env=client_env | env)
        return done.returncode, done.stdout.strip().splitlines()[-1]

    def tagged(decision):
        for name, value in {"by": "Bob", "reason": "as it is", "decision": decision}.items():
            log.client.set_model_version_tag(model, version, f"approval.{name}", value)
        return reconcile(log)[0]

    before = log.read()
    same = (
        2,
        f"error: version {version}: the run that made it had account admin of MLflow's server, and this ",
    )
    code, problem = said()  # another name, and the same account
    assert (code, problem[: len(same[1])]) == same and "decision has the same" in problem, problem
    # A variable that names another account needs its password.
    code, problem = said(MLFLOW_TRACKING_USERNAME=APPROVER["MLFLOW_TRACKING_USERNAME"])
    assert (code, "401" in problem) == (2, True), problem
    assert "refused" in (line := tagged("approve")) and "this decision has none" in line, line
    assert log.read() == before
    assert said(**APPROVER) == (0, f"{model} version {version}: approved by Bob (entry 2)")
    started, approved = log.read()
    assert [entry.evidence["account"] for entry in (started, approved)] == ["admin", "approver"]
    version = candidate(log)
    assert "taken up: rejected" in tagged("reject")
