"""The rules of the house, read from the source: nothing is imported."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SERVICES = {"prefect", "dvc", "mlflow", "great_expectations", "boto3"}
FORBIDDEN = {
    "apo_core": {"tasks", "flows", *SERVICES},
    "tasks": {"flows"},
    "flows": set(),
}
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
FILES = [file for package in FORBIDDEN for file in sorted((ROOT / package).rglob("*.py"))]


def packages(nodes: Iterable[ast.AST]) -> set[str]:
    """Top-level packages of the import statements among these nodes."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def imported(file: Path) -> set[str]:
    """Of every import statement, those inside functions too."""
    return packages(ast.walk(ast.parse(file.read_text())))


def test_there_is_something_to_check():
    assert len(FILES) > 50
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == set(FORBIDDEN)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_never_point_left(file):
    layer = file.relative_to(ROOT).parts[0]
    assert not imported(file) & FORBIDDEN[layer]


def test_vllm_is_imported_by_nobody_who_does_not_use_it():
    """It takes ten seconds, and most installations do without."""
    assert not [file for file in FILES if "vllm" in packages(ast.parse(file.read_text()).body)]
    assert [file for file in FILES if "vllm" in imported(file)]


def test_a_stage_process_imports_no_prefect():
    stages = [ROOT / "tasks" / f"{stage}.py" for stage in STAGES]
    assert not any("prefect" in imported(file) for file in [*stages, ROOT / "tasks/stage.py"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_exactly_the_parameters_it_takes(stage):
    tree = ast.parse((ROOT / "tasks" / f"{stage}.py").read_text())
    run = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
    taken = [argument.arg for argument in run.args.args if argument.arg != "workspace"]
    assert sorted(STAGES[stage]["params"]) == sorted(taken)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_module(stage):
    assert STAGES[stage]["cmd"] == f"exec python -m tasks {stage}"


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
        text = (ROOT / "tasks" / f"{stage}.py").read_text()
        if stage in ("sample", "train", "evaluate"):
            text += (ROOT / "tasks/inputs.py").read_text()
        opened = {path for name, path in data.items() if re.search(rf"workspace\.{name}\b", text)}
        names = [*declared["deps"], *declared.get("outs", []), *declared.get("metrics", [])]
        listed = {next(iter(name)) if isinstance(name, dict) else name for name in names}
        assert opened, stage
        assert opened - elsewhere == {path for path in listed if path in data.values()}, stage


def test_no_registry_host_and_no_path_of_a_machine_is_written_down():
    words = "|".join(("pypi" + r"\.org", "python" + "hosted", "/" + "work/", "/" + "root/"))
    files = [*FILES, *ROOT.glob("requirements/*"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "dvc.yaml"]
    assert not [str(file) for file in files if re.search(words, file.read_text())]
