"""How `apo --help` shows the commands: the group of each, and an example of its use."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

SET_UP, RUN, LOOK = "Set up", "Run", "Look"
DECIDE, PUBLISH, SERVICES = "Decide", "Publish", "Services"

# In the order in which `apo --help` shows them.
COMMANDS = {
    "init": (SET_UP, "apo init gsm8k --preset gsm8k-smollm2 --model smollm2"),
    "fetch": (SET_UP, "apo fetch smollm2 smollm2"),
    "fetch-prompts": (SET_UP, "apo fetch-prompts -w gsm8k"),
    "doctor": (SET_UP, "apo doctor -w gsm8k"),
    "verify": (SET_UP, "apo verify -w gsm8k"),
    "run": (RUN, "apo run -w gsm8k --set train.steps=32"),
    "stage": (RUN, "apo stage evaluate -w gsm8k --force"),
    "deploy": (RUN, "apo deploy -w gsm8k"),
    "status": (LOOK, "apo status -w gsm8k"),
    "fsck": (LOOK, "apo fsck -w gsm8k"),
    "ui": (LOOK, "apo ui -w gsm8k"),
    "lineage": (LOOK, "apo lineage smollm2-gsm8k@champion"),
    "audit": (LOOK, "apo audit smollm2-gsm8k"),
    "approve": (DECIDE, "apo approve smollm2-gsm8k 3 --by anna --reason 'better on every set'"),
    "reject": (DECIDE, "apo reject smollm2-gsm8k 3 --by anna --reason 'worse on long problems'"),
    "rollback": (DECIDE, "apo rollback smollm2-gsm8k --by anna --reason 'complaints since Monday'"),
    "reconcile": (DECIDE, "apo reconcile smollm2-gsm8k"),
    "restore": (DECIDE, "apo restore smollm2-gsm8k/2 -w gsm8k"),
    "publish": (PUBLISH, "apo publish smollm2-gsm8k@champion s3://models/production"),
    "download": (PUBLISH, "apo download s3://models/production/smollm2-gsm8k/3 policy"),
    "services": (SERVICES, "apo services start"),
}


class CommandWithPresets(TyperCommand):
    """A command whose help ends with the presets. They are read when the help is shown, not before."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from apo_core.config.overlay import description_of
        from flows.workspaces import presets

        # Typer joins the lines of a paragraph: each is a paragraph of its own.
        lines = [f"{name}: {description_of(file)}" for name, file in presets().items()]
        self.epilog = "\n\n".join([self.epilog or "", "Presets:", *lines])
        super().format_help(ctx, formatter)


def describe(app: typer.Typer) -> None:
    """Give every command of an application its group and its example, in the order of `COMMANDS`."""
    names = list(COMMANDS)
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-") if command.callback else ""
        command.name = name
        command.rich_help_panel, example = COMMANDS[name]
        command.epilog = f"Example: {example}"
    app.registered_commands.sort(key=lambda command: names.index(command.name or ""))
