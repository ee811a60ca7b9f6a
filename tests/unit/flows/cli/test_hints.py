"""Advised commands can be copied: they name the workspace that the command line named."""

import pytest

from flows.cli.hints import in_workspace, named_workspace


@pytest.mark.parametrize(
    ("arguments", "workspace"),
    [
        (["run"], ""),
        (["run", "-w", "one two", "--set", "a=b"], "one two"),
        (["run", "--workspace", "ws"], "ws"),
        (["run", "--workspace=ws"], "ws"),
    ],
)
def test_the_workspace_of_a_command_line(arguments, workspace):
    assert named_workspace(arguments) == workspace


@pytest.mark.parametrize(
    ("text", "workspace", "advised"),
    [
        (
            "damaged; `apo fsck` or `apo run --force train`",
            "ws",
            "damaged; `apo fsck -w ws` or `apo run --force train -w ws`",
        ),
        ("`apo fetch-prompts` gets it", "ws", "`apo fetch-prompts -w ws` gets it"),
        ("`apo run`", "a b", "`apo run -w 'a b'`"),
        ("`apo run`", "", "`apo run`"),
        ("`apo run`", ".", "`apo run`"),
        (
            "`apo init DIR`, `apo fetch smollm2 m`, `git init`",
            "ws",
            "`apo init DIR`, `apo fetch smollm2 m`, `git init`",
        ),
        ("`apo restore m/1 -w other`", "ws", "`apo restore m/1 -w other`"),
    ],
)
def test_advice_names_the_workspace(text, workspace, advised):
    assert in_workspace(text, workspace) == advised
