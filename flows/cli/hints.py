"""Commands that errors and findings advise, with the workspace that they are about."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_COMMAND = re.compile(r"`apo ([a-z-]+)([^`]*)`")
_WITHOUT_WORKSPACE = ("init", "fetch", "download", "services")  # and what names one by itself


def named_workspace(arguments: Sequence[str]) -> str:
    """The option `-w` of a command line, as it was typed; empty where it has none."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        if before in ("-w", "--workspace"):
            return argument
        if argument.startswith("--workspace="):
            return argument.partition("=")[2]
    return ""


def in_workspace(text: str, workspace: str) -> str:
    """Add `-w` to every advised command, so that it can be copied: `apo run` is `apo run -w DIR`."""
    if workspace in ("", "."):
        return text

    def add(match: re.Match[str]) -> str:
        name, rest = match.groups()
        if name in _WITHOUT_WORKSPACE or " -w " in rest:
            return match.group()
        return f"`apo {name}{rest} -w {shlex.quote(workspace)}`"

    return _COMMAND.sub(add, text)
