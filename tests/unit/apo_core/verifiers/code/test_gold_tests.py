import json

import pytest

from apo_core.verifiers.code.gold_tests import (
    Assertions,
    Call,
    Calls,
    Run,
    Runs,
    UnreadableTests,
    read_tests,
)

CHECK = "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n"
ENTRY = {"entry_point": "inc", "prompt": "def inc(n):\n"}
FUNCTIONAL = [{"input": '[1, 2]\n"a"', "output": "3", "testtype": "functional"}]


def read(answer, row=None):
    return read_tests(answer if isinstance(answer, str) else json.dumps(answer), row or {})


def test_a_list_of_assertions_as_mbpp_has_it():
    row = {
        "test_setup_code": "import math",
        "test_imports": ["import re"],
        "code": "def f(x):\n    return x\n",
    }
    tests = ["assert f(1) == 1", "assert f(2) == 2"]
    assert read(tests, row) == Assertions(tuple(tests), "import re\nimport math", None, ("f",), "")
    assert read(str(tests), row).tests == tuple(tests)  # as a CSV file has a list


def test_check_of_a_candidate_as_humaneval_has_it():
    tests = read(CHECK, ENTRY)
    assert tests == Assertions((CHECK + "\ncheck(inc)",), "", "inc", ("inc",), "def inc(n):\n")


def test_code_is_divided_into_its_assertions():
    code = "x = 2\nassert f(x) == 4\nfor n in range(3):\n    assert f(n) == 2 * n\n"
    assert read(code).tests == ("x = 2\nassert f(x) == 4", "for n in range(3):\n    assert f(n) == 2 * n")
    code = "def test():\n    assert f(1) == 2\ntest()"
    assert read(code).tests == ("def test():\n    assert f(1) == 2\ntest()",)


@pytest.mark.parametrize(
    "answer",
    [
        {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]},
        {"inputs": [["1", ""], 2], "outputs": ["2\n", [3, ""]]},
        {"input": ["1\n", "2\n"], "output": ["2\n", "3\n"]},
        [{"input": "1\n", "output": "2\n", "testtype": "stdin"}, {"input": "2\n", "output": "3\n"}],
    ],
)
def test_inputs_and_outputs_of_a_program(answer):
    tests = read(answer)
    assert isinstance(tests, Runs)
    assert [(test.stdin.split(), test.expected.split()) for test in tests.tests] == [
        (["1"], ["2"]),
        (["2"], ["3"]),
    ]


def test_arguments_and_results_of_a_function():
    assert read({"inputs": [[1, [2]]], "outputs": [3], "fn_name": "add"}) == Calls(
        "add", (Call((1, [2]), 3),)
    )
    calls = Calls("add", (Call(([1, 2], "a"), 3),))
    assert read(FUNCTIONAL, {"metadata": '{"func_name": "add"}'}) == calls
    assert read(FUNCTIONAL, {"metadata": {"func_name": "add"}}) == calls


@pytest.mark.parametrize(
    ("answer", "row", "problem"),
    [
        ("", {}, "has no assertion"),
        ("def f(x):\n    return x\n", {}, "has no assertion"),
        (["assert f(1) == 1", "print(f(2))"], {}, "test 2: has no assertion"),
        (["assert f(1) = 1"], {}, "test 1: is no Python code: "),
        (["assert True"], {"test_setup_code": "x ="}, "test_setup_code: is no Python code"),
        (CHECK, {}, "the row has no entry_point"),
        ([], {}, "holds no tests"),
        ([1, 2], {}, "holds no tests"),
        ('"text"', {}, "holds no tests"),
        ({"inputs": [], "outputs": []}, {}, "inputs and outputs are empty"),
        ({"inputs": ["1"], "outputs": []}, {}, "has 1 inputs and 0 outputs"),
        ({"inputs": "1", "outputs": "2"}, {}, "has no lists inputs and outputs"),
        ({"inputs": [1], "outputs": [1], "fn_name": "f"}, {}, "test 1: inputs of fn_name must be a list"),
        ({"inputs": [[1]], "outputs": [1], "fn_name": "os.system"}, {}, "fn_name must name a function"),
        ([{"input": "1"}], {}, "test 1: has no texts input and output"),
        (FUNCTIONAL, {}, "metadata names no func_name"),
        (
            [{**FUNCTIONAL[0], "output": "x"}],
            {"metadata": {"func_name": "f"}},
            "test 1: arguments and output must be JSON",
        ),
        ([*FUNCTIONAL, {"input": "1", "output": "1"}], {}, "found functional, stdin"),
        ("eJxrYJmaygABIhmdAAA" * 20, {}, "it looks packed"),
    ],
)
def test_what_cannot_be_tested_is_said(answer, row, problem):
    with pytest.raises(UnreadableTests, match=r".") as refused:
        read(answer, row)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "answer", ["[" * 100_000, "(" * 100_000, "{'a': " * 1_000, "-" * 100_000 + "1", "\0"]
)
def test_hostile_tests_are_refused_too(answer):
    with pytest.raises(UnreadableTests):
        read(answer)


def test_a_run_keeps_its_text():
    assert read({"inputs": ["a b\n\nc"], "outputs": [" x "]}) == Runs((Run("a b\n\nc", " x "),))
