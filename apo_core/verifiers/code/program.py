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
_PYTHON = re.compile(r"i?py(?:thon)?(?:3[\d.]*)?")
_DEFINED = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
_ASSIGNED = re.compile(r"^(\w+)[ \t]*=(?!=)", re.MULTILINE)
_READS = re.compile(r"\binput\b|\bstdin\b|\bopen\b")
# A line of a block that shows how a program is used: an assertion, a call, a comment, or the rest of one.
_USES = re.compile(r"assert\b|[A-Za-z_][\w.]*\(|[A-Za-z_]\w*[ \t]*=[^=]|[\s#)\]}'\"]|$")


def find_program(completion: str, rules: tuple[Rule, ...], names: frozenset[str] | None = None) -> str | None:
    """Find the program in a completion: a fenced block (`code`), or all of it (`whole`).

    Args:
        completion: text of a response.
        rules: where to look.
        names: functions and classes of which the program defines at least one; None if it reads and prints.

    Returns:
        None if there is no fenced block and rule `whole` is not given; "" if the block is empty.
    """
    block = last_block(completion, names) if "code" in rules else None
    return completion if block is None and "whole" in rules else block


def last_block(text: str, names: frozenset[str] | None = None) -> str | None:
    """Return the last fenced block of Python, or else of any without a language; None if none.

    A block that only shows how another is used, an example of calls say, is left out if there is another. A
    block that is not closed goes to the end of the text. One closing fence alone ends a block that the prompt
    has opened.
    """
    fences = list(_fences(text))
    if len(fences) == 1 and not fences[0].language and not text[fences[0].end :].strip():
        return text[: fences[0].start]
    blocks = list(_blocks(text, fences))
    in_order = [block for language in (True, False) for named, block in reversed(blocks) if named == language]
    if names is None:
        defined = {name for block in in_order for name in _DEFINED.findall(block)}
        programs = (block for block in in_order if not _is_example(block, defined))
    else:
        programs = (block for block in in_order if not names.isdisjoint(_names_of(block)))
    return next(programs, next(iter(in_order), None))


def _blocks(text: str, fences: list[_Fence]) -> Iterator[tuple[bool, str]]:
    """Yield the blocks that may be Python: whether they say so, and their content."""
    opened: _Fence | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif not fence.language and fence.marks.startswith(opened.marks):
            if opened.language in ("", "python"):
                yield bool(opened.language), text[opened.end : fence.start]
            opened = None
    if opened is not None and opened.language in ("", "python"):
        yield bool(opened.language), text[opened.end :]


def _names_of(block: str) -> set[str]:
    return {*_DEFINED.findall(block), *_ASSIGNED.findall(block)}


def _is_example(block: str, defined: set[str]) -> bool:
    """Whether a block only asserts and calls what other blocks define."""
    if _DEFINED.search(block) or _READS.search(block):
        return False
    return not defined.isdisjoint(_WORD.findall(block)) and all(map(_USES.match, block.split("\n")))


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
            yield _Fence(marks, _language(behind), start, end)
        elif "```" in content:  # "Here is the code: ```python"
            last = content[content.index("```") :]
            language = last.lstrip("`")
            if len(language.split()) == 1 and _language(language) == "python" and "`" not in language:
                yield _Fence("`" * (len(last) - len(language)), "python", start, end)
        start = end


def _language(behind: str) -> str:
    """Read the language behind a fence: "python" for "Python3", "{.python}", "python:main.py"."""
    language = (behind.split() or [""])[0].lower()
    name = re.split("[:,]", language.strip("{}."))[0]
    return "python" if _PYTHON.fullmatch(name) else language


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
