"""The reference of the command line: every command of `apo`, from the typer application itself."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from flows.cli.main import app

_EXAMPLE = "Example: "


def reference() -> str:
    """Return every command with its usage, arguments, options and example, in the groups of `apo --help`."""
    root = typer.main.get_command(app)
    parts, group = [], None
    for name, command in root.commands.items():
        panel = getattr(command, "rich_help_panel", None)
        if isinstance(panel, str) and panel != group:
            group = panel
            parts.append(f"## {group}\n")
        parts += [_text(path, inner) for path, inner in _commands(f"apo {name}", command)]
    return "\n".join(parts)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Walk the commands that can be given: a group has none of its own."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _commands(f"{path} {name}", inner)


def _text(path: str, command: Any) -> str:
    parameters = command.get_params(typer.Context(command, info_name=path))
    names = [known.name.upper() for known in parameters if known.param_type_name == "argument"]
    lines = [
        f"### {path}",
        "",
        cleandoc(command.help or ""),
        "",
        f"    {' '.join([path, *names])} [OPTIONS]",
        "",
    ]
    for parameter in parameters:
        if not getattr(parameter, "hidden", False) and parameter.name != "help":
            lines += _parameter(parameter)
    for line in cleandoc(command.epilog or "").splitlines():
        example = line.startswith(_EXAMPLE)
        lines += ["Example:", "", f"    {line.removeprefix(_EXAMPLE)}", ""] if example else [line, ""]
    return "\n".join(lines)


def _parameter(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        names, help_text = parameter.name.upper(), getattr(parameter, "help", None)
    else:
        names, help_text = ", ".join(sorted(parameter.opts, key=len)), parameter.help
    text = " ".join((help_text or "").split())
    if text and not text.endswith("."):
        text += "."
    if parameter.required:
        text += " Required."
    elif parameter.default == Path():
        text += " By default the current one."
    elif parameter.default not in (None, (), False, ...) and not callable(parameter.default):
        text += f" Default: `{parameter.default}`."
    return [f"`{names}`", f":   {text}", ""]
