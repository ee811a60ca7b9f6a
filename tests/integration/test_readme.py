"""Every command in the README is run: in a clone, at the size of preset `ci`."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from importlib.util import find_spec

import mlflow
import pytest
from builders import ROOT, clean_env, execute

from apo_core.config.file import load_params, set_params
from tasks.decisions.approve import propose
from tasks.decisions.log import open_store
from tasks.tracking.registry import find
from tasks.tracking.runs import connect
from tasks.workspace import Workspace

pytestmark = pytest.mark.long

BLOCKS = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]
DECISIONS = [line for line in COMMANDS if re.match("apo (approve|reject|rollback|audit|lineage) ", line)]
# Where each of the README's commands is run for real.
ELSEWHERE = {
    "make run": "conftest.first_run",
    "make ui": "test_the_pages_are_served_until_interrupted",
    "make check": "it and `make test` are what runs this",
    "make test": "it and `make check` are what runs this",
    "make vllm": "`make test` begins with it",
    "make services": "test_services.py",
    ". .apo/services/services.env": "test_services.py",
    "apo services status": "test_services.py",
    "make services-stop": "test_services.py",
    "apo run --set sampler.engine=vllm": "test_the_pipeline_samples_with_vllm",
    **dict.fromkeys(DECISIONS, "test_the_commands_of_decisions_work"),
    "apo publish apo-arithmetic@champion s3://data/production": "test_publish.py",
    "apo download s3://data/production/apo-arithmetic/1 champion": "test_publish.py",
    "dvc remote add --default storage s3://dvc/arithmetic": "test_dvc_remote.py",
    "dvc push": "test_dvc_remote.py",
}
REAL_MODEL = [command for command in COMMANDS if "gsm8k" in command or "smollm2" in command]
HERE = [command for command in COMMANDS if command not in [*ELSEWHERE, *REAL_MODEL]]


def test_every_command_is_accounted_for():
    assert set(ELSEWHERE) <= set(COMMANDS)
    assert len(REAL_MODEL) == 5
    assert HERE == [
        "apo run --set values.beta1=0.25",
        "apo stage evaluate --set evaluation.samples=8",
        "dvc repro",
        "dvc status",
    ]


def test_the_targets_that_run_this_exist(checkout):
    for target in ("check", "test"):
        assert "pytest" in execute(f"make -n {target}", checkout).stdout


def test_the_commands_for_changing_things_work(workspace):
    """And rerun exactly what the README says."""
    set_params(workspace / "params.yaml", ["train.steps=4", "evaluation.samples=1"])  # less to wait for
    beta1, evaluation, repro, status = (execute(command, workspace).stdout for command in HERE)
    assert _ran(beta1) == ["values", "train", "evaluate", "report"]
    assert _ran(evaluation) == ["evaluate"]
    assert _ran(repro) == ["report"]
    assert "up to date" in status
    # What was evaluated anew has not been compared with the champion, nor registered.
    assert json.loads((workspace / "reports/summary.json").read_text())["decision"]["outcome"] == "open"
    assert "There is no outcome of what is here now" in execute("apo status", workspace).stdout


def _ran(output):
    return re.findall(r"Running stage '(\w+)'", output)


def test_the_commands_of_decisions_work(finished, workspace, monkeypatch):
    """With a second version that waits, beside the one that the run has promoted."""
    shutil.copyfile(finished / ".apo/mlflow.db", workspace / ".apo/mlflow.db")
    shutil.copytree(finished / ".apo/audit", workspace / ".apo/audit")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / '.apo/mlflow.db'}")
    place = Workspace(workspace)
    client, store = connect(place), open_store(place)
    first = client.get_model_version("apo-ci", "1")
    mlflow.register_model(first.source, "apo-ci")
    rules = load_params(place.params).promotion.model_copy(update={"approval": "manual"})
    propose(client, store, find(client, "apo-ci", "2"), rules, started_by="Bob", evidence={})

    approve, reject, rollback, audit, lineage = (
        line.replace("apo-arithmetic", "apo-ci") for line in DECISIONS
    )
    assert "version 2: approved by Ada" in execute(approve, workspace).stdout
    refused = execute(reject, workspace, check=False)
    assert (refused.returncode, "it was approved by Ada" in refused.stdout) == (2, True)
    assert "version 1 is champion again" in execute(rollback, workspace).stdout
    assert "5 entries, verified" in execute(audit, workspace).stdout
    shown = execute(lineage, workspace).stdout
    for name in ("commit", "dvc.lock", "value table", "fingerprint", "verifier", "gain", "rollback by Ada"):
        assert name in shown


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has no build for this machine (make vllm)")
def test_the_pipeline_samples_with_vllm(workspace):
    small = " --set train.steps=2 --set evaluation.samples=1"
    output = execute("apo run --set sampler.engine=vllm" + small, workspace).stdout
    for stage in ("sample", "evaluate"):
        assert f"{stage}: ran" in output
    for stage in ("reference", "prepare", "validate"):
        assert f"{stage}: unchanged" in output
    assert "paired) on 96" in output


def test_the_python_example_works(finished):
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    script = finished / ".apo/example.py"
    script.write_text(example.replace("apo-arithmetic", "apo-ci"))
    assert "5-4+3+2=" in execute(f"python {script}", finished).stdout


def test_the_pages_are_served_until_interrupted(finished):
    process = subprocess.Popen(
        ["make", "ui"],
        cwd=finished,
        env=clean_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    addresses, shown = {}, ""
    for line in process.stdout:
        shown += line
        if "Ctrl-C" in line:
            break
        if found := re.match(r"(Prefect|MLflow): (http://127\.0\.0\.1:\d+)", line):
            addresses[found[1]] = found[2]
    assert set(addresses) == {"Prefect", "MLflow"}
    assert f"MLflow: {addresses['MLflow']}/#/experiments/1?workflowType=machine_learning\n" in shown
    assert urllib.request.urlopen(f"{addresses['Prefect']}/api/health").read() == b"true"
    assert b"MLflow" in urllib.request.urlopen(addresses["MLflow"]).read()
    subprocess.run(["pkill", "-INT", "-g", str(process.pid)], check=True)
    process.wait(timeout=60)
    time.sleep(0.5)
    for address in addresses.values():
        with pytest.raises(OSError):
            urllib.request.urlopen(address)
