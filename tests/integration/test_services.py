"""`apo services`: services in use, killed, stopped and started again."""

import json
import os
import socket
import subprocess
from pathlib import Path

import boto3
import mlflow
import psutil
import pytest
from botocore.exceptions import ClientError
from builders import ROOT, execute
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flows.services.control import SERVICES
from flows.services.processes import processes_tagged

pytestmark = pytest.mark.servers

FLOW = "from prefect import flow\n\n@flow(name='greet')\ndef greet():\n    return 'hello'\n\ngreet()\n"
COUNT_RUNS = "SELECT count(*) FROM flow_run JOIN flow ON flow.id = flow_id WHERE flow.name = 'greet'"


@pytest.fixture(scope="module", autouse=True)
def no_other_server():
    """Unset MLflow's tracking URI: an earlier test's URI would override this process's environment."""
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def used(services, tmp_path_factory):
    """A run with metrics, artifacts, a model version, an object and a flow, recorded once in the services."""
    directory, paths = tmp_path_factory.mktemp("used"), services.paths()
    (directory / "greet.py").write_text(FLOW)
    env = paths.variables | {"PREFECT_HOME": str(directory / "prefect"), "DO_NOT_TRACK": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        client = MlflowClient()
        run = client.create_run(client.create_experiment("experiment")).info.run_id
        client.log_metric(run, "loss", 0.5)
        client.log_text(run, "evidence", "reports/evidence.txt")
        client.create_registered_model("model")
        client.create_model_version("model", f"runs:/{run}/reports", run)
        client.set_registered_model_alias("model", "champion", "1")
        boto3.client("s3").put_object(Bucket="audit", Key="apo/1.json", Body=b"{}")
    execute("python greet.py", directory, env=env)
    return run


def assert_all_recorded(services, run):
    client = MlflowClient()
    assert client.get_run(run).data.metrics == {"loss": 0.5}
    assert client.get_model_version_by_alias("model", "champion").run_id == run
    s3 = boto3.client("s3")
    (artifact,) = s3.list_objects_v2(Bucket="mlflow")["Contents"]
    assert artifact["Key"].endswith(f"/{run}/artifacts/reports/evidence.txt")
    assert s3.get_object(Bucket="mlflow", Key=artifact["Key"])["Body"].read() == b"evidence"
    assert s3.get_object(Bucket="audit", Key="apo/1.json")["Body"].read() == b"{}"
    assert query(services, "prefect", COUNT_RUNS) == "1"


def query(services, owner, statement):
    paths = services.paths()
    command = ["psql", f"postgresql://{paths.database(owner)}", "-tAc", statement]
    secret = {"PGPASSFILE": str(paths.passwords_of_databases)}
    done = subprocess.run(command, env=os.environ | secret, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def pids(services):
    return {status.service.name: status.process for status in services.status()}


def test_all_is_recorded_where_it_belongs(services, used, client_env):
    assert_all_recorded(services, used)
    buckets = {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}
    assert buckets == {"dvc", "mlflow", "data", "audit"}
    # MLflow keeps runs and accounts in PostgreSQL.
    assert query(services, "mlflow", "SELECT count(*) FROM runs") == "1"
    assert [status.answers for status in services.status()] == [True] * 4


def test_wrong_passwords_are_refused_in_one_line(services, client_env, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(MlflowException, match=r"401.*You are not authenticated") as refused:
        MlflowClient().search_experiments()
    assert "\n" not in str(refused.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto3.client("s3").list_buckets()
    address = f"postgresql://{services.paths().database('prefect')}"
    done = execute(f"psql {address} -wc 'SELECT 1'", ROOT, check=False, env={"PGPASSFILE": "/dev/null"})
    assert done.returncode == 2
    assert "no password supplied" in done.stdout


def test_an_account_may_read_but_not_change_anothers_runs(services, used, client_env, monkeypatch):
    from mlflow.server import get_app_client

    accounts = get_app_client("basic-auth", tracking_uri=client_env["MLFLOW_TRACKING_URI"])
    accounts.create_user("reader", "a-password-of-its-own")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-password-of-its-own")
    client = MlflowClient()
    assert client.get_run(used).data.metrics == {"loss": 0.5}
    with pytest.raises(MlflowException, match="Permission denied"):
        client.set_registered_model_alias("model", "champion", "1")


def test_no_secret_is_shown(services, used):
    """No secret is in process arguments, which every user sees, in logs, or in files that others may read."""
    secrets = [password.encode() for password in services.paths().passwords.values()]
    assert len(secrets) == 6
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert not any(secret in arguments for secret in secrets), process
    holding = set()
    for file in services.root.rglob("*"):
        if file.is_file() and any(secret in file.read_bytes() for secret in secrets):
            holding.add(str(file.relative_to(services.root)))
            assert file.stat().st_mode & 0o777 == 0o600, file
    assert holding == {"passwords.json", "pgpass", "services.env"}
    for log in services.root.glob("logs/*"):
        assert log.stat().st_mode & 0o777 == 0o600


def test_a_running_service_is_not_started_twice(services):
    before = pids(services)
    assert None not in before.values()
    assert [status.process for status in services.start()] == list(before.values())


def kill(pid):
    """End a process at once, and wait until it is gone: on a busy machine that takes a moment."""
    process = psutil.Process(pid)
    process.kill()
    process.wait(10)


def test_killed_postgres_comes_back_while_the_others_run(services, used, client_env):
    before = pids(services)
    kill(before["postgres"])
    assert services.status("postgres")[0].process is None
    services.start("postgres")
    after = pids(services)
    assert after["postgres"] != before["postgres"]
    assert after | {"postgres": 0} == before | {"postgres": 0}
    assert_all_recorded(services, used)


def test_killed_services_come_back(services, used, client_env):
    before = pids(services)
    for name in ("s3", "mlflow", "prefect"):
        kill(before[name])
    shown = execute(f"apo services status --directory {services.root}", ROOT, check=False)
    assert shown.returncode == 1
    assert shown.stdout.count("not running") == 3
    services.start()
    assert services.paths().variables == client_env
    assert not set(before.values()) - {before["postgres"]} & set(pids(services).values())
    assert_all_recorded(services, used)


def test_stopped_services_leave_nothing_and_start_where_they_were(services, used, client_env):
    paths = services.paths()
    in_directory = f"--directory {services.root}"
    assert "apo services stop" in execute("make -n services-stop", ROOT).stdout
    stopped = execute(f"apo services stop {in_directory}", ROOT).stdout
    assert stopped.splitlines() == [
        f"{name}: stopped" for name in ("MLflow", "Prefect", "PostgreSQL", "SeaweedFS")
    ]
    assert not [process for name in SERVICES for process in processes_tagged(paths.process_tag(name))]
    assert not SERVICES["postgres"].orphans(paths)
    for port in paths.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert execute(f"apo services stop {in_directory}", ROOT).stdout == "nothing was running\n"
    assert "apo services start" in execute("make -n services", ROOT).stdout
    started = execute(f"apo services start {in_directory}", ROOT).stdout.splitlines()
    assert started[2] == f"MLflow: ready on 127.0.0.1:{paths.ports['mlflow']}"
    shown = execute(f"{started[-1].removeprefix('Addresses and passwords: ')}; env", ROOT).stdout.splitlines()
    assert {f"{name}={value}" for name, value in client_env.items()} <= set(shown)
    assert_all_recorded(services, used)


def test_a_service_is_stopped_and_started_without_the_others(services, used, client_env):
    before = pids(services)
    assert [service.name for service in services.stop("mlflow")] == ["mlflow"]
    assert pids(services) == before | {"mlflow": None}
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", services.paths().ports["mlflow"])):
        pass
    services.start("mlflow")
    assert_all_recorded(services, used)


def test_a_foreign_process_with_a_recorded_pid_is_left_alone(services):
    """After a restart of the machine, recorded process ids belong to other processes."""
    state = services.root / "state.json"
    kept = state.read_text()
    record = json.loads(kept)
    recorded = record["processes"]["prefect"]
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as foreign:
        recorded["pid"] = foreign.pid
        state.write_text(json.dumps(record))
        try:
            assert services.status("prefect")[0].process is None
        finally:
            state.write_text(kept)
            foreign.kill()
