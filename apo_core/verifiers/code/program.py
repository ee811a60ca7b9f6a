"""The program in a completion, and the code that has to run before it."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from apo_core.verifiers.extraction import Rule

# What LeetCode's programs take for granted: these modules, and what is in the first of them.
_OPEN = ("typing", "collections", "heapq", "bisect", "itertools", "functools", "math")
_LIBRARY = (*_OPEN, "copy", "operator", "random", "re", "string", "sys")
_WORD = re.compile(r"\w+")
_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+(.*)$", re.MULTILINE)
_COMMON = (
    *("bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools"),
    *("json", "math", "numpy", "operator", "random", "re", "statistics", "string", "typing"),
)
_PYTHON = {"", "py", "python", "python3"}


def find_program(completion: str, rules: tuple[Rule, ...]) -> str | None:
    """Find the program in a completion: the last fenced block (`code`), or all of it (`whole`).

    Returns:
        None if there is no fenced block and rule `whole` is not given; "" if the block is empty.
    """
    block = last_block(completion) if "code" in rules else None
    return completion if block is None and "whole" in rules else block


def last_block(text: str) -> str | None:
    """Return the content of the last fenced block of Python, or else of any without a language; None if none.

    A block that is not closed goes to the end of the text. One closing fence alone ends a block that the
    prompt has opened.
    """
    fences = list(_fences(text))
    if len(fences) == 1 and not fences[0].language and not text[fences[0].end :].strip():
        return text[: fences[0].start]
    blocks: dict[bool, str] = {}
    opened: _Fence | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif not fence.language and fence.marks.startswith(opened.marks):
            _keep(blocks, opened, text[opened.end : fence.start])
            opened = None
    if opened is not None:
        _keep(blocks, opened, text[opened.end :])
    return blocks.get(True, blocks.get(False))


class _Fence(NamedTuple):
    """A line that opens or closes a block."""

    marks: str  # ``` or ~~~, or more of them
    language: str
    start: int
    end: int  # where the next line starts


def _fences(text: str) -> Iterator[_Fence]:
    """Find fences in time linear in the text."""
    start = 0
    for line in text.split("\n"):
        end = start + len(line) + 1
        content = line.strip()
        behind = content.lstrip(content[:1])
        marks = content[: len(content) - len(behind)]
        if len(marks) >= 3 and marks[0] in "`~" and "`" not in behind:
            yield _Fence(marks, (behind.split() or [""])[0].lower(), start, end)
        start = end


def _keep(blocks: dict[bool, str], opened: _Fence, content: str) -> None:
    """Keep a block, the last of those that name Python and the last of those that name nothing."""
    if opened.language in _PYTHON:
        blocks[bool(opened.language)] = content


def continued(code: str, prompt: str, function: str | None) -> tuple[str, str]:
    """Put together what a prompt begins and a completion continues, as HumanEval has it.

    Returns:
        Code to run first, and the program: the completion if it defines the function, after what stands
        before the function in the prompt; else prompt and completion, up to its first line that is not
        indented.
    """
    if not prompt or function is None:
        return "", code
    if _defines(code, function):
        begin = re.search(rf"^(async\s+)?def\s+{function}\b", prompt, re.MULTILINE)
        return (prompt[: begin.start()] if begin else ""), code
    body = re.split(r"^(?=\S)", code, maxsplit=1, flags=re.MULTILINE)
    return "", prompt + ("\n" if not prompt.endswith("\n") and body[0].startswith(" ") else "") + body[0]


def split_setup(setup: str) -> tuple[str, str]:
    """Divide the set-up of tests: imports, which programs too may need, and what both sides need."""
    imports, functions = [], []
    for node in ast.parse(setup).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef):
            functions.append(ast.unparse(node))
    return "\n".join(imports), "\n".join(imports + functions)


def library_of(code: str) -> str:
    """Write the imports that a program of LeetCode's form has forgotten, or does without."""
    words = set(_WORD.findall(code))
    lines = [f"import {name}" for name in _LIBRARY if name in words]
    for name in _OPEN:
        known = set(vars(import_module(name))) - set(vars(builtins))  # such as pow, which has a modulus
        lines += [f"from {name} import {word}" for word in sorted(words & known) if not word.startswith("_")]
    return "\n".join(lines)


def modules_of(code: str) -> tuple[str, ...]:
    """List the modules that a program may import, of those that many do."""
    text = " ".join(_IMPORT.findall(code))
    return tuple(name for name in _COMMON if name in text)


def _defines(code: str, function: str) -> bool:
    # By its text: what a model wrote is not parsed in this process, which a parser's crash would end.
    return re.search(rf"^((async\s+)?def\s+{function}\b|{function}\s*=)", code, re.MULTILINE) is not None
