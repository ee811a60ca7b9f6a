"""The reference of the command line: every command of `apo`, from the typer application itself."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from flows.cli.main import app


def reference() -> str:
    """Return a heading for every command, with its usage, arguments, options and example."""
    return "\n".join(_text(path, command) for path, command in commands())


def commands() -> Iterator[tuple[str, Any]]:
    """Walk the commands that can be given: groups have none of their own."""
    yield from _below("apo", typer.main.get_command(app))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _below(f"{path} {name}", inner)


def _text(path: str, command: Any) -> str:
    context = typer.Context(command, info_name=path)
    arguments = [
        parameter.name.upper()
        for parameter in command.get_params(context)
        if parameter.param_type_name == "argument"
    ]
    usage = " ".join([path, *arguments, "[OPTIONS]"])
    lines = [f"## {path}", "", cleandoc(command.help or ""), "", f"    {usage}", ""]
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False) and parameter.name != "help":
            lines += _parameter(parameter)
    if command.epilog:
        lines += [cleandoc(command.epilog), ""]
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
