"""Every command in the README and in the pages is run: in a clone, at the size of preset `ci`."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pytest
from builders import ROOT, clean_env, execute
from pages import BASH, COMMANDS, DECISIONS, REAL_MODEL, blocks, commands_of

from apo_core.config.file import load_params, set_params
from tasks.decisions.decide import propose
from tasks.decisions.log import open_log
from tasks.notify import signature
from tasks.tracking.registry import find
from tasks.workspace import Workspace

pytestmark = pytest.mark.long

OWN_VERIFIER = "apo run --set verifier.name=mine:score --set 'verifier.extract=[whole]'"
# Where each command is run for real: a test here, or another file of tests.
ELSEWHERE = {
    "make run": "conftest.py: first_run",
    "make install": "conftest.py: first_run",  # every target depends on it
    "make ui": "test_pages.py: test_the_pages_are_served_until_interrupted",
    "make vllm": "test_pages.py: test_the_targets_that_run_this_exist",  # `make test` begins with it
    "make check": "test_pages.py: test_the_targets_that_run_this_exist",
    "make test": "test_pages.py: test_the_targets_that_run_this_exist",
    "make gpu": "test_gpu.py: -m gpu",
    "make services": "test_services.py: test_all_is_recorded_where_it_belongs",
    ". .apo/services/services.env": "test_services.py: test_all_is_recorded_where_it_belongs",
    "apo services status": "test_services.py: test_all_is_recorded_where_it_belongs",
    "apo services stop mlflow": "test_services.py: test_stopped_services_leave_nothing",
    "apo services start mlflow": "test_services.py: test_stopped_services_leave_nothing",
    "make services-stop": "test_services.py: test_stopped_services_leave_nothing",
    "apo run --set sampler.engine=vllm": "test_pages.py: test_the_pipeline_samples_with_vllm",
    "apo run --set sampling.workers=2": "test_user_verifier.py: sampling.workers=2",
    "apo run --set train.ranks=2": "test_ranks.py: train.ranks=2",
    "apo run --set algorithm=grpo": "test_algorithm_stages.py: ALL",
    "apo run --set algorithm=grpo --set algorithm.responses=4": "test_algorithm_stages.py: ALL",
    OWN_VERIFIER: "test_user_verifier.py: SETTINGS",
    OWN_VERIFIER.replace("run", "verify", 1): "test_user_verifier.py: apo verify --set",
    **dict.fromkeys(DECISIONS, "test_pages.py: test_the_commands_of_decisions_work"),
    **dict.fromkeys(REAL_MODEL, "test_real_model.py: REAL_MODEL"),
    "apo publish apo-arithmetic@champion s3://data/production": "test_publish.py: apo publish",
    "apo download s3://data/production/apo-arithmetic/1 champion": "test_publish.py: download",
    "dvc remote add --default storage s3://dvc/arithmetic": "test_dvc_remote.py: dvc remote add",
    "dvc push": "test_dvc_remote.py: dvc push",
    "prefect work-pool create apo --type process": "test_deploy.py: work-pool create",
    "apo deploy": "test_deploy.py: apo deploy",
}
# The reason why a command cannot be run here, by the beginning of the command.
NOT_HERE = {
    "git clone REPOSITORY": "needs the address of a repository; the fixture `checkout` is a clone",
    "uv pip install -r requirements/gpu.txt": "vLLM and torch for CUDA: several GB, for a host with a GPU",
    "docker compose": "needs a container engine; test_containers.py checks images and compose files",
    "for name in mlflow mlflow_auth prefect; do docker compose": "needs a container engine",
    "umask 077 && while read": "run by tests/unit/test_containers.py",
    'python -c "from mlflow.server import get_app_client': "the call is made in test_refusals.py",
}
CHANGES = commands_of("docs/quickstart.md", "apo run") + commands_of("docs/quickstart.md", "dvc repro")
WORKSPACE = commands_of("docs/operations.md", "git init")
SHORT = [
    "apo status",
    "apo fetch-prompts",
    ". .venv/bin/activate",
    "apo doctor --params presets/qwen2.5-1.5b-gsm8k.yaml",
    "apo doctor --params presets/qwen2.5-7b-math.yaml --gpu H100-80 --gpus 4",
    "apo fsck --look",
    "apo fsck",
]


def test_every_command_is_accounted_for():
    here = [*CHANGES, *WORKSPACE, *SHORT]
    not_here = [command for command in COMMANDS if command.startswith(tuple(NOT_HERE))]
    assert len(REAL_MODEL) == 6
    assert sorted([*here, *ELSEWHERE, *not_here]) == sorted(COMMANDS)
    assert all(any(command.startswith(start) for command in not_here) for start in NOT_HERE)


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_what_runs_a_command_elsewhere_is_there(test):
    file, text = test.split(": ")
    assert text in (Path(__file__).parent / file).read_text()


@pytest.mark.parametrize("block", BASH, ids=lambda block: f"{block.page}: {block.commands[0][:40]}")
def test_every_block_is_bash(block):
    execute("bash -n /dev/stdin <<'END'\n" + block.text + "END", ROOT)


def test_the_targets_that_run_this_exist(checkout):
    for target in ("check", "test"):
        assert "pytest" in execute(f"make -n {target}", checkout).stdout
    assert "installed-vllm" in execute("make -n --always-make test", checkout).stdout


def test_the_short_commands_work(finished):
    status, prompts, _, plan, of_gpus, *looks = (execute(command, finished, check=False) for command in SHORT)
    assert [(look.returncode, look.stdout) for look in looks] == [
        (0, "everything is as it is recorded\n")
    ] * 2
    assert "up to date" in status.stdout and "apo-ci version 1" in status.stdout
    assert prompts.returncode == 0
    assert "memory" in plan.stdout and plan.returncode in (0, 1)  # which of them depends on the machine
    assert "hours" in of_gpus.stdout and of_gpus.returncode == 0
    execute(". .venv/bin/activate && command -v apo", finished)


def test_a_workspace_of_its_own_repository_is_made(tmp_path):
    names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
    person = {f"GIT_{name}": "ada@example.org" for name in names}
    execute("\n".join(WORKSPACE), tmp_path, env=person)
    committed = execute("git ls-files", tmp_path / "my-model").stdout.split()
    assert {"params.yaml", "dvc.yaml", "prefect.yaml", ".dvc/config"} <= set(committed)


@pytest.mark.production
def test_the_commands_for_changing_things_work(workspace):
    """The commands rerun exactly the stages that the quickstart names."""
    set_params(workspace / "params.yaml", ["train.steps=4", "evaluation.samples=1"])  # less to wait for
    beta1, evaluation, repro, status = (execute(command, workspace).stdout for command in CHANGES)
    assert _ran(beta1) == ["values", "train", "evaluate", "report"]
    assert _ran(evaluation) == ["evaluate"]
    assert _ran(repro) == ["report"]
    assert "up to date" in status
    # The new evaluation has been neither compared with the champion nor registered.
    assert json.loads((workspace / "reports/summary.json").read_text())["decision"]["outcome"] == "open"
    assert "There is no outcome of what is here now" in execute("apo status", workspace).stdout


def _ran(output):
    return re.findall(r"Running stage '(\w+)'", output)


def test_the_commands_of_decisions_work(finished, workspace, monkeypatch):
    """Decide on a second version that waits, beside the version that the run has promoted."""
    shutil.copyfile(finished / ".apo/mlflow.db", workspace / ".apo/mlflow.db")
    for name in ("audit", "mlartifacts"):
        shutil.copytree(finished / ".apo" / name, workspace / ".apo" / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / '.apo/mlflow.db'}")
    paths = Workspace(workspace)
    log = open_log(paths, "apo-ci")
    client = log.client
    first = client.get_model_version("apo-ci", "1")
    mlflow.register_model(first.source, "apo-ci")
    rules = load_params(paths.params).promotion.model_copy(update={"approval": "manual"})
    propose(log, find(client, "apo-ci", "2"), rules, started_by="Bob", evidence={})

    approve, reject, rollback, audit, lineage = (
        line.replace("apo-arithmetic", "apo-ci") for line in DECISIONS
    )
    assert "version 2: approved by Ada" in execute(approve, workspace).stdout
    refused = execute(reject, workspace, check=False)
    assert (refused.returncode, "it was approved by Ada" in refused.stdout) == (2, True)
    assert "version 1 is champion again" in execute(rollback, workspace).stdout
    assert "6 entries, verified" in execute(audit, workspace).stdout
    shown = execute(lineage, workspace).stdout
    for name in ("commit", "dvc.lock", "value table", "fingerprint", "verifier", "gain", "rollback by Ada"):
        assert name in shown


@pytest.mark.production
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has no build for this machine (make vllm)")
def test_the_pipeline_samples_with_vllm(workspace):
    small = " --set train.steps=2 --set evaluation.samples=1"
    output = execute("apo run --set sampler.engine=vllm" + small, workspace).stdout
    for stage in ("sample", "evaluate"):
        assert f"{stage}: ran" in output
    for stage in ("reference", "prepare", "validate"):
        assert f"{stage}: unchanged" in output
    assert "paired) on 96" in output


PYTHON = {block.page: block.text for block in blocks("python")}


def test_every_python_example_is_run():
    assert sorted(block.page for block in blocks("python")) == sorted(PYTHON)  # one per page
    assert set(PYTHON) == {"README.md", "docs/verifiers.md", "docs/operations.md"}


def test_the_champion_generates_as_the_readme_says(finished):
    script = finished / ".apo/example.py"
    script.write_text(PYTHON["README.md"].replace("apo-arithmetic", "apo-ci"))
    assert "5-4+3+2=" in execute(f"python {script}", finished).stdout


def test_the_verifier_of_ones_own_scores():
    names = {}
    exec(PYTHON["docs/verifiers.md"], names)
    assert names["score"]("it is 41, no, 42.", "42", {}) == (1.0, "42 for 42", "42")
    assert names["score"]("I do not know.", "42", {}) == (0.0, "None for 42", None)


def test_a_receiver_of_messages_sees_which_are_genuine():
    names = {}
    exec(PYTHON["docs/operations.md"], names)
    body, secret = b'{"model": "m"}', "secret"
    assert names["is_genuine"](secret.encode(), body, signature(body, secret))
    assert not names["is_genuine"](secret.encode(), body + b" ", signature(body, secret))


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
        if match := re.match(r"(Prefect|MLflow): (http://127\.0\.0\.1:\d+)", line):
            addresses[match[1]] = match[2]
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
