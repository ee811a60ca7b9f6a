"""Rules of the architecture, checked on the source; import rules are in pyproject.toml (`lint-imports`)."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import ROOT
from ruamel.yaml import YAML

PACKAGES = ("apo_core", "tasks", "flows")
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def top_level_imports(file: Path) -> set[str]:
    """Packages that importing this file imports."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_there_is_something_to_check():
    assert len(FILES) > 50
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == set(PACKAGES)


def test_vllm_is_imported_by_nobody_who_does_not_use_it():
    """It takes ten seconds, and most installations do without."""
    by_vllm_alone = ROOT / "apo_core/sampling/vllm_shared_memory.py"  # in its own processes, by name
    assert [file for file in FILES if "vllm" in top_level_imports(file)] == [by_vllm_alone]
    assert not [file for file in FILES if "apo_core.sampling.vllm_shared_memory import" in file.read_text()]
    assert [file for file in FILES if "import vllm" in file.read_text() or "from vllm" in file.read_text()]


def test_the_packages_of_a_layer_import_nothing_by_being_entered():
    """Engines read the environment when they are imported; the processes that score must not import torch."""
    empty = [
        directory for package in ("tasks", "flows") for directory in (ROOT / package).rglob("__init__.py")
    ]
    assert empty
    assert not [file for file in empty if top_level_imports(file)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_parameters_it_takes(stage):
    tree = ast.parse((ROOT / "tasks/stages" / f"{stage}.py").read_text())
    run = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
    taken = [argument.arg for argument in run.args.args if argument.arg != "workspace"]
    # Of a section that it needs in part, a stage names the parts.
    assert {name.partition(".")[0] for name in STAGES[stage]["params"]} == set(taken)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_module(stage):
    assert STAGES[stage]["cmd"] == f"exec python -P -m tasks {stage}"


def test_the_stages_are_the_ones_the_flow_runs():
    source = (ROOT / "tasks/workspace.py").read_text()
    assert list(STAGES) == list(ast.literal_eval(re.search(r"^STAGES = (\(.*\))", source, re.M).group(1)))


def test_a_stage_declares_exactly_the_files_it_opens():
    """Paths are properties of Workspace; each stage's module names those it reads or writes."""
    source = (ROOT / "tasks/workspace.py").read_text()
    paths = dict(re.findall(r'def (\w+)\(self\) -> Path:.*?return self\.root / "([^"]+)"', source, re.S))
    data = {name: path for name, path in paths.items() if path.startswith(("data/", "reports/"))}
    elsewhere = {"reports/plots", "reports/summary.json"}  # a folder of plots; completed by the flow
    for stage, declared in STAGES.items():
        text = (ROOT / "tasks/stages" / f"{stage}.py").read_text()
        if stage in ("sample", "train", "evaluate"):
            text += (ROOT / "tasks/prompts/table.py").read_text()
            text += (ROOT / "tasks/responses/conditions.py").read_text()
        opened = {path for name, path in data.items() if re.search(rf"workspace\.{name}\b", text)}
        names = [*declared["deps"], *declared.get("outs", []), *declared.get("metrics", [])]
        listed = {next(iter(name)) if isinstance(name, dict) else name for name in names}
        assert opened, stage
        assert opened - elsewhere == {path for path in listed if path in data.values()}, stage


def test_no_registry_host_and_no_path_of_a_machine_is_written_down():
    words = "|".join(("pypi" + r"\.org", "python" + "hosted", "/" + "work/", "/" + "root/"))
    files = [*FILES, *ROOT.glob("requirements/*"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "dvc.yaml"]
    assert not [str(file) for file in files if re.search(words, file.read_text())]


@pytest.mark.slow
def test_what_a_command_or_a_hook_waits_for_imports_no_engine():
    """A worker imports the flow of a killed run to send its failure: with torch that took a minute."""
    modules = "flows.cli.main, flows.outcome, flows.alerts, flows.approval"
    engines = {"torch", "transformers", "scipy", "mlflow", "boto3"}
    code = f"import sys, {modules}; print(*({engines} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
