"""What `apo --help` and the help of each command show."""

import shlex
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from flows.cli.help import COMMANDS
from flows.cli.main import app
from flows.workspaces import presets

COMMAND = typer.main.get_command(app)


def shown(*arguments):
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    return result.stdout


def test_every_command_stands_in_a_group():
    assert list(COMMAND.commands) == list(COMMANDS)
    output = shown("--help")
    groups = dict.fromkeys(group for group, _ in COMMANDS.values())
    positions = [output.index(f" {group} ") for group in groups]
    assert positions == sorted(positions)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_it_understands(name):
    example = COMMANDS[name][1]
    assert f"Example: {example}" in " ".join(shown(name, "--help").split())
    program, command, *arguments = shlex.split(example)
    assert (program, command) == ("apo", name)
    COMMAND.commands[command].make_context(command, arguments)  # raises where an option is unknown


def test_the_presets_are_listed_with_what_they_are():
    output = shown("init", "--help")
    assert all(f"{name}: " in output for name in presets())
    assert "GSM8K on SmolLM2-135M-Instruct, on a CPU." in output
    refused = CliRunner().invoke(app, ["init", "new"])
    assert str(refused.exception).startswith("--preset is missing; the presets are:\n  ci  ")
    assert len(str(refused.exception).splitlines()) == 1 + len(presets())


def test_help_imports_nothing_heavy():
    heavy = "{'pandas', 'torch', 'transformers', 'prefect', 'mlflow', 'pydantic', 'ruamel'}"
    code = f"import sys, flows.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
