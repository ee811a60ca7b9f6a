"""Tests of a problem, read from its gold answer in the forms that public data sets have.

| form of the answer | data sets |
|---|---|
| list of assertions; `test_setup_code` or `test_imports` in the row | MBPP |
| Python code with assertions, or with `check(candidate)`; `entry_point`, `prompt` in the row | HumanEval |
| {inputs, outputs, fn_name?} | APPS, TACO |
| {input, output} | CodeContests |
| list of {input, output, testtype?}; `metadata` in the row | LiveCodeBench |
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Run(NamedTuple):
    """A program's input, and what it has to print."""

    stdin: str
    expected: str


class Call(NamedTuple):
    """A function's arguments, and what it has to return."""

    arguments: tuple[Any, ...]
    expected: Any


class Runs(NamedTuple):
    """Tests of a program that reads standard input."""

    tests: tuple[Run, ...]


class Calls(NamedTuple):
    """Tests of one function, which may be a method of a class `Solution`."""

    function: str
    tests: tuple[Call, ...]


class Assertions(NamedTuple):
    """Tests that are Python code."""

    tests: tuple[str, ...]
    setup: str  # code to run before them
    candidate: str | None  # function that they call `candidate`
    functions: tuple[str, ...]  # functions that the program has to define, as far as they are known
    prompt: str  # code that a program may continue


class UnreadableTests(ValueError):
    """Says what is wrong with a gold answer."""


def read_tests(answer: str, row: Mapping[str, Any]) -> Runs | Calls | Assertions:
    """Read the tests of a gold answer.

    Args:
        answer: the gold answer.
        row: source row of the prompt.

    Raises:
        UnreadableTests: it holds no tests, or some that cannot be used.
    """
    content = _content(answer)
    if isinstance(content, dict):
        return _read_columns(content, row)
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        return _read_cases(content, row)
    if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
        return _read_code(tuple(content), row)
    if content is not None:
        raise UnreadableTests(
            "holds no tests: expected {inputs, outputs}, or a list of assertions or of cases"
        )
    return _read_code((answer,), row)


def _content(answer: str) -> Any:
    """Parse JSON, or a list or dict as Python writes it; None if it is neither."""
    if answer.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(answer.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _read_columns(content: Mapping[str, Any], row: Mapping[str, Any]) -> Runs | Calls:
    inputs, outputs = (content.get(f"{name}s", content.get(name)) for name in ("input", "output"))
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise UnreadableTests("has no lists inputs and outputs")
    if len(inputs) != len(outputs):
        raise UnreadableTests(f"has {len(inputs)} inputs and {len(outputs)} outputs")
    if not inputs:
        raise UnreadableTests("holds no tests: inputs and outputs are empty")
    function = content.get("fn_name")
    if function is None:
        return Runs(
            tuple(Run(_text(stdin), _text(want)) for stdin, want in zip(inputs, outputs, strict=True))
        )
    _check_function(function)
    calls = []
    for number, (arguments, expected) in enumerate(zip(inputs, outputs, strict=True), start=1):
        if not isinstance(arguments, list):
            raise UnreadableTests(f"test {number}: inputs of fn_name must be a list of arguments")
        calls.append(Call(tuple(arguments), expected))
    return Calls(function, tuple(calls))


def _read_cases(cases: list[Any], row: Mapping[str, Any]) -> Runs | Calls:
    for number, case in enumerate(cases, start=1):
        if not isinstance(case.get("input"), str) or not isinstance(case.get("output"), str):
            raise UnreadableTests(f"test {number}: has no texts input and output")
    kinds = {case.get("testtype", "stdin") for case in cases}
    if kinds == {"stdin"}:
        return Runs(tuple(Run(case["input"], case["output"]) for case in cases))
    if kinds != {"functional"}:
        raise UnreadableTests(f"testtype must be stdin or functional in all tests, found {_listed(kinds)}")
    metadata = row.get("metadata")
    metadata = _content(metadata) if isinstance(metadata, str) else metadata
    function = metadata.get("func_name") if isinstance(metadata, dict) else None
    if function is None:
        raise UnreadableTests("has functional tests, but the row's metadata names no func_name")
    _check_function(function)
    return Calls(function, tuple(_functional(number, case) for number, case in enumerate(cases, start=1)))


def _functional(number: int, case: Mapping[str, str]) -> Call:
    try:
        arguments = [json.loads(line) for line in case["input"].splitlines() if line.strip()]
        return Call(tuple(arguments), json.loads(case["output"]))
    except (ValueError, RecursionError):
        raise UnreadableTests(f"test {number}: arguments and output must be JSON, one a line") from None


def _read_code(tests: tuple[str, ...], row: Mapping[str, Any]) -> Assertions:
    trees = [_parse(test, f"test {number}") for number, test in enumerate(tests, start=1)]
    entry = row.get("entry_point")
    has_check = any(
        isinstance(node, ast.FunctionDef) and node.name == "check" for tree in trees for node in tree.body
    )
    for number, tree in enumerate(trees, start=1):
        if not any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree)):
            where = f"test {number}: " if len(trees) > 1 else ""
            raise UnreadableTests(f"{where}has no assertion" + _hint(tests[number - 1]))
    if has_check:
        if not isinstance(entry, str) or not entry.isidentifier():
            raise UnreadableTests(
                "defines check(candidate), but the row has no entry_point that names the function"
            )
        tests = ("\n".join((*tests, f"check({entry})")),)
    elif len(tests) == 1:
        tests = tuple(_split(trees[0]))
    setup = "\n".join(_lines(row.get("test_imports")) + _lines(row.get("test_setup_code")))
    _parse(setup, "test_setup_code")
    functions = (entry,) if isinstance(entry, str) else _defined(row.get("code"))
    prompt = row.get("prompt") if has_check and isinstance(row.get("prompt"), str) else ""
    return Assertions(tests, setup, entry if has_check else None, functions, prompt or "")


def _split(tree: ast.Module) -> list[str]:
    """Divide code into tests: what leads up to a statement that asserts something, and this statement."""
    tests: list[str] = []
    before: list[str] = []
    for statement in tree.body:
        before.append(ast.unparse(statement))
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef) and any(
            isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(statement)
        ):
            tests.append("\n".join(before))
            before = []
    if not tests or before:  # a function that asserts and is then called
        tests.append("\n".join(before))
    return tests


def _parse(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableTests(
            f"{what}: is no Python code: {getattr(error, 'msg', None) or error}" + _hint(code)
        ) from None


def _hint(code: str) -> str:
    packed = len(code) > 100 and " " not in code.strip()
    return "; it looks packed (as LiveCodeBench's private tests): unpack it to JSON first" if packed else ""


def _defined(code: object) -> tuple[str, ...]:
    """Name the functions of the row's own solution, as MBPP has it."""
    try:
        tree = ast.parse(code) if isinstance(code, str) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    return tuple(node.name for node in tree.body if isinstance(node, ast.FunctionDef)) if tree else ()


def _check_function(function: object) -> None:
    if not isinstance(function, str) or not function.isidentifier():
        raise UnreadableTests(f"fn_name must name a function, found {function!r:.60}")


def _text(value: Any) -> str:
    """Join what is a list of lines; numbers become text."""
    return "\n".join(map(_text, value)) if isinstance(value, list) else str(value)


def _lines(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [line for line in value or [] if isinstance(line, str)]


def _listed(names: set[Any]) -> str:
    return ", ".join(sorted(map(str, names)))
