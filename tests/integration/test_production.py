"""All of production on real services: schedule, form, rejection, rollback, audit, a clean clone."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
import mlflow
import pytest
from conftest import BIN, environment, execute

from apo_core.approvals import state_of
from apo_core.config.file import load_params, set_params
from tasks import approve
from tasks.audit_store import open_store, read_log
from tasks.registry import find
from tasks.workspace import Workspace

MODEL = "apo-production"
WEBHOOK_SECRET, WEBHOOK_PATH = "canary-of-the-webhook-a5c1", "canary-of-its-path-77f0"
SETTINGS = (
    f"tracking.model={MODEL}",
    "promotion.approval=manual",
    "promotion.four_eyes=true",
    "train.steps=12",
    "pipeline.retry_delay_seconds=1.0",
)


@dataclass
class Production:
    """A workspace in git, its deployments, and a worker."""

    services: object
    source: Path  # the repository that people commit to
    settings: dict[str, str]
    worker_log: Path
    worker: subprocess.Popen | None = None

    def api(self, method, path, body=None):
        """Prefect's REST API, as its page uses it."""
        url = f"{self.settings['PREFECT_API_URL']}/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def runs(self, flow):
        """Newest first; those that are only scheduled for later are left out."""
        return self.api(
            "POST",
            "flow_runs/filter",
            {
                "flows": {"name": {"any_": [flow]}},
                "sort": "START_TIME_DESC",
                "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}},
            },
        )

    def deployment(self, flow):
        return self.api("GET", f"deployments/name/{flow}/{MODEL}")

    def start_run(self, flow, **parameters):
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.api("POST", f"deployments/{self.deployment(flow)['id']}/create_flow_run", body)["id"]

    def wait(self, run_id, *states, seconds=400):
        return until(lambda: self._in(run_id, states), seconds, lambda: self.worker_log.read_text()[-6000:])

    def _in(self, run_id, states):
        run = self.api("GET", f"flow_runs/{run_id}")
        assert run["state_name"] in states or run["state_type"] not in ("FAILED", "CRASHED", "CANCELLED"), (
            run["state"]
        )
        return run if run["state_name"] in states else None

    def answer(self, run_id, **form):
        return self.api("POST", f"flow_runs/{run_id}/resume", {"run_input": form})

    def commit(self, *settings):
        set_params(self.source / "params.yaml", settings)
        execute("git -c user.name='Ada Lovelace' -c user.email=ada@host commit -qam change", self.source)

    def execute(self, command, place, *, check=True):
        return execute(command, place, check=check, settings=self.settings)

    def start_worker(self):
        with self.worker_log.open("ab") as log:
            self.worker = subprocess.Popen(
                [str(BIN / "prefect"), "worker", "start", "--pool", "apo", "--type", "process"],
                env=environment() | self.settings,
                cwd=self.worker_log.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def until(condition, seconds, shown=lambda: ""):
    """What a condition gives once it is true; what goes wrong meanwhile is looked at again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s\n{shown()}")


@pytest.fixture(scope="module")
def production(services, tmp_path_factory):
    base = tmp_path_factory.mktemp("production")
    source = base / "source"
    settings = services.site().variables | {
        "PREFECT_HOME": str(base / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "APO_REPOSITORY": source.as_uri(),
        "APO_BRANCH": "main",
        "APO_WORKSPACE": ".",
        "APO_WORK_POOL": "apo",
        "APO_MODEL": MODEL,
        "APO_WEBHOOK_URL": f"http://127.0.0.1:9/{WEBHOOK_PATH}",  # where nobody listens
        "APO_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    made = Production(services, source, settings, base / "worker.log")
    execute(f"apo init {source} --preset ci", base)
    set_params(source / "params.yaml", SETTINGS)
    # Every minute: a nightly run would keep this test waiting.
    deployments = (source / "prefect.yaml").read_text()
    assert '"0 3 * * *"' in deployments
    (source / "prefect.yaml").write_text(deployments.replace('"0 3 * * *"', '"* * * * *"'))
    execute(
        "git init -q -b main && dvc config core.no_scm false && dvc remote add -q --default store s3://dvc/production"
        " && git add -A && git -c user.name='Ada Lovelace' -c user.email=ada@host commit -qm first",
        source,
    )
    made.execute("prefect --no-prompt work-pool create apo --type process", source)
    made.execute("apo deploy", source)
    made.start_worker()
    try:
        yield made
    finally:
        os.killpg(made.worker.pid, signal.SIGTERM)
        made.worker.wait(timeout=60)


@pytest.fixture
def client(production, monkeypatch):
    for name, value in production.settings.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(production.settings["MLFLOW_TRACKING_URI"])
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def store(client, production):
    return open_store(Workspace(production.source))


def aliases(client):
    return {name: str(number) for name, number in client.get_registered_model(MODEL).aliases.items()}


def pipeline_runs(client):
    """Newest first."""
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return [run for run in found if run.data.tags.get("model") == MODEL]


@pytest.fixture(scope="module")
def scheduled(production):
    """The first two runs that the schedule has made; then it is paused."""

    def finished():
        runs = production.runs("pipeline")
        assert not [run for run in runs if run["state_type"] in ("FAILED", "CRASHED")], (
            production.worker_log.read_text()[-6000:]
        )
        done = [run for run in runs if run["state_type"] == "COMPLETED"]
        return done if len(done) >= 2 else None

    runs = until(finished, 600, lambda: production.worker_log.read_text()[-6000:])
    deployment = production.deployment("pipeline")
    for schedule in deployment["schedules"]:
        production.api(
            "PATCH", f"deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": False}
        )
    until(lambda: not [run for run in production.runs("pipeline") if run["state_type"] == "RUNNING"], 300)
    return runs


def test_from_a_schedule_to_a_champion_and_back(production, scheduled, client, store, tmp_path):
    assert all(run["auto_scheduled"] for run in scheduled)
    # The second found nothing changed, on a clone of its own: no run of MLflow, and one candidate.
    (trained,) = pipeline_runs(client)
    assert trained.data.tags["started_by"] == "Ada Lovelace"  # the author of the commit
    assert aliases(client) == {"candidate": "1"}
    _approve_by_form(production, client)
    _reject_new_data(production, client, store)
    _roll_back(production, client, store)
    _restore_in_a_clean_clone(production, client, trained, tmp_path)
    _find_a_tampered_line(production, store)
    _find_no_secret(production, client, store)


def _form(production, version):
    """The suspended run that asks for a version."""

    def asked():
        runs = [run for run in production.runs("approve") if run["parameters"]["version"] == version]
        return next((run["id"] for run in runs if run["state_name"] == "Suspended"), None)

    found = until(asked, 120, lambda: production.worker_log.read_text()[-6000:])
    time.sleep(3)  # no person answers while the process that has asked still ends
    return found


def _approve_by_form(production, client):
    form = _form(production, "1")
    refused = production.answer(form, approver="Bob", reason="no decision is no yes")
    assert refused["status"] == "REJECT" and "decision" in json.dumps(refused)
    # Who started the run may not: the form comes again, with the reason.
    production.answer(form, approver="ada lovelace", decision="approve", reason="I made it")
    until(lambda: "refused" in json.dumps(_logs(production, form)), 120)
    production.wait(form, "Suspended")
    assert aliases(client) == {"candidate": "1"}
    production.answer(form, approver="Bob", decision="approve", reason="it reasons")
    production.wait(form, "Completed", seconds=120)
    assert aliases(client) == {"candidate": "1", "champion": "1"}


def _logs(production, run_id):
    found = production.api("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
    return [line["message"] for line in found]


def _reject_new_data(production, client, store):
    production.commit("data.train_prompts=640", "train.steps=60")
    production.wait(production.start_run("pipeline"), "Completed")
    newest = pipeline_runs(client)[0]
    # What does not depend on it is not made again.
    assert newest.data.tags["changed"] == "prepare, train"
    log = production.worker_log.read_text().rsplit("'restore'", 1)[-1]
    assert "reference: unchanged" in log and "sample: ran" in log
    assert aliases(client) == {"candidate": "2", "champion": "1"}
    form = _form(production, "2")
    production.answer(form, approver="Bob", decision="reject", reason="too long")
    production.wait(form, "Completed", seconds=120)
    assert aliases(client) == {"champion": "1"}
    last = read_log(store, MODEL)[-1]
    assert (last.event, last.version, last.by) == ("rejected", "2", "Bob")


def _roll_back(production, client, store):
    first = client.get_model_version(MODEL, "1")
    mlflow.register_model(first.source, MODEL)  # another, made elsewhere
    rules = _rules(production)
    approve.propose(client, store, find(client, MODEL, "3"), rules, started_by="Ada Lovelace", evidence={})
    approve.decide(client, store, MODEL, "3", "approve", by="Bob", reason="looks the same")
    assert aliases(client)["champion"] == "3"
    run = production.start_run("rollback", by="Cy", reason="it is the same")
    production.wait(run, "Completed", seconds=120)
    assert aliases(client)["champion"] == "1"
    events = [(entry.event, entry.version) for entry in read_log(store, MODEL)]
    assert events == [
        ("candidate", "1"),
        ("approved", "1"),
        ("candidate", "2"),
        ("rejected", "2"),
        ("candidate", "3"),
        ("approved", "3"),
        ("rollback", "1"),
    ]


def _rules(production):
    return load_params(production.source / "params.yaml").promotion


def _restore_in_a_clean_clone(production, client, trained, tmp_path):
    execute(f"git clone -q {production.source} clone", tmp_path)
    clone = tmp_path / "clone"
    production.execute(f"apo restore {MODEL}@champion", clone)
    file = client.download_artifacts(trained.info.run_id, "tables/values.parquet", str(tmp_path))
    assert (clone / "data/values.parquet").read_bytes() == Path(file).read_bytes()
    assert "train_prompts: 640" not in (clone / "params.yaml").read_text()
    assert "up to date" in production.execute("dvc status", clone).stdout
    shown = production.execute(f"apo lineage {MODEL}@champion", clone).stdout
    assert "approved by Bob" in shown and "rollback by Cy" in shown


def _find_a_tampered_line(production, store):
    s3, key = boto3.client("s3"), f"apo/{MODEL}/00000002.json"
    original = s3.get_object(Bucket="audit", Key=key)["Body"].read()
    assert "7 entries, verified" in production.execute(f"apo audit {MODEL}", production.source).stdout
    s3.put_object(Bucket="audit", Key=key, Body=original.replace(b"Bob", b"Eve"))
    try:
        found = production.execute(f"apo audit {MODEL}", production.source, check=False)
        assert (found.returncode, "entry 2 has been changed" in found.stdout) == (2, True)
    finally:
        s3.put_object(Bucket="audit", Key=key, Body=original)
    assert state_of(read_log(store, MODEL)).champion == "1"


def _find_no_secret(production, client, store):
    """In nothing that is kept or shown; the passwords themselves are the canaries."""
    site = production.services.site()
    canaries = [WEBHOOK_SECRET, WEBHOOK_PATH, *site.passwords.values()]
    texts = {"worker": production.worker_log.read_text()}
    texts |= {str(log): log.read_text(errors="replace") for log in (site.root / "logs").glob("*.log")}
    texts |= {"audit": "".join(map(repr, read_log(store, MODEL)))}
    for start in range(0, 2000, 200):
        lines = production.api("POST", "logs/filter", {"limit": 200, "offset": start})
        texts |= {f"prefect {start}": json.dumps(lines)} if lines else {}
    texts |= {"deployments": json.dumps(production.api("POST", "deployments/filter", {}))}
    texts |= {"flow runs": json.dumps(production.api("POST", "flow_runs/filter", {}))}
    for run in pipeline_runs(client):
        texts[run.info.run_id] = json.dumps(run.to_dictionary())
        for path in ("lineage/dvc.lock", "lineage/params.yaml", "reports/summary.json"):
            texts[f"{run.info.run_id}/{path}"] = Path(
                client.download_artifacts(run.info.run_id, path)
            ).read_text()
    texts["lineage"] = production.execute(f"apo lineage {MODEL}@champion", production.source).stdout
    assert len(texts) > 12 and all(texts.values())
    assert not [(name, canary[:4]) for name, text in texts.items() for canary in canaries if canary in text]
