"""The program in a completion, and the code that has to run before it."""

from __future__ import annotations

import ast
import builtins
import re
from importlib import import_module

from apo_core.verifiers.extraction import Rule

# What LeetCode's programs take for granted: these modules, and what is in the first of them.
_OPEN = ("typing", "collections", "heapq", "bisect", "itertools", "functools", "math")
_LIBRARY = (*_OPEN, "copy", "operator", "random", "re", "string", "sys")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
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
    fences = list(_FENCE.finditer(text))
    if len(fences) == 1 and not fences[0][2] and not text[fences[0].end() :].strip():
        return text[: fences[0].start()]
    blocks: dict[bool, str] = {}
    opened: re.Match[str] | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif not fence[2] and fence[1].startswith(opened[1]):
            _keep(blocks, opened, text[opened.end() + 1 : fence.start()])
            opened = None
    if opened is not None:
        _keep(blocks, opened, text[opened.end() + 1 :])
    return blocks.get(True, blocks.get(False))


def _keep(blocks: dict[bool, str], opened: re.Match[str], content: str) -> None:
    """Keep a block, the last of those that name Python and the last of those that name nothing."""
    language = opened[2].lower()
    if language in _PYTHON:
        blocks[bool(language)] = content


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
