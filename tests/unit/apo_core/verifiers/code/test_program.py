import pytest
from builders import assert_linear

from apo_core.verifiers.code.program import continued, find_program, library_of, modules_of, split_setup

FENCED = "First:\n```python\na = 1\n```\nor better\n```python\na = 2\n```\nThat is it."


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        (FENCED, "a = 2\n"),
        ("```\na = 1\n```", "a = 1\n"),
        ("~~~py\na = 1\n~~~", "a = 1\n"),
        ("```Python3 title=x\na = 1\n```", "a = 1\n"),
        (
            "```python\na = 1\n```\nIt prints\n```\n1\n```",
            "a = 1\n",
        ),  # a block that names Python is the program
        ("```python\na = 1\n```\n```bash\nls\n```", "a = 1\n"),
        ("```json\n{}\n```", None),
        ("```python\na = 1", "a = 1"),  # the end of the response is the end of the block
        ("a = 1\n```\n", "a = 1\n"),  # of a block that the prompt has opened
        ("````python\n'''\n```\n'''\n````", "'''\n```\n'''\n"),
        ("  ```python\n  a = 1\n  ```", "  a = 1\n"),
        ("```python\n```", ""),
        ("a = `1`", None),
        ("", None),
    ],
)
def test_the_program_is_the_last_block_of_python(completion, program):
    assert find_program(completion, ("code",)) == program


@pytest.mark.parametrize(
    "unit", ["```", "``` ", " `", "~~~a\n", "\t", "async \n", "def ", "import ", "```\n", "\n"]
)
def test_hostile_text_takes_linear_time(unit):
    def read(size):
        program = find_program(unit * (size // len(unit)) + "`x", ("code", "whole"))
        modules_of(program), library_of(program), continued(program, "def f(x):\n", "f")

    assert_linear(read, size=300_000)


def test_without_a_block_rule_whole_takes_all_of_it():
    assert find_program("    return 1", ("code", "whole")) == "    return 1"
    assert find_program(FENCED, ("code", "whole")) == "a = 2\n"
    assert find_program(FENCED, ("whole",)) == FENCED


PROMPT = 'import math\n\ndef half(n):\n    return n / 2\n\ndef area(r):\n    """Area."""\n'


@pytest.mark.parametrize(
    ("code", "together"),
    [
        ("    return math.pi * r**2\n\nprint(area(2))\n", ("", PROMPT + "    return math.pi * r**2\n\n")),
        (
            "def area(r):\n    return half(r)\n",
            (PROMPT.partition("def area")[0], "def area(r):\n    return half(r)\n"),
        ),
        ("area = half\n", (PROMPT.partition("def area")[0], "area = half\n")),
    ],
)
def test_a_completion_continues_the_prompt_or_has_the_whole_function(code, together):
    assert continued(code, PROMPT, "area") == together


def test_without_a_prompt_the_completion_is_the_program():
    assert continued("a = 1", "", "area") == ("", "a = 1")


def test_tests_know_the_imports_and_functions_of_their_setup_only():
    setup = "import math\nclass Node: pass\nroot = Node()\ndef close(a, b):\n    return a == b\n"
    assert split_setup(setup) == ("import math", "import math\ndef close(a, b):\n    return a == b")


def test_leetcodes_programs_need_no_imports():
    assert library_of("def f(a: List[int]): return pow(math.inf, len(Counter(a)), 7) + gcd(1, 2)") == (
        "import math\nfrom typing import Counter\nfrom typing import List\nfrom collections import Counter\n"
        "from math import gcd\nfrom math import inf"
    )
    assert library_of("def f(a): return a") == ""


def test_common_modules_are_found_by_their_names():
    assert modules_of("import math, re\n  from collections import deque\nx = 'import heapq'") == (
        "collections",
        "math",
        "re",
    )


SOLUTION = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "example",
    [
        "print(f(1))\n",
        "assert f(1) == 2\nassert f(\n    2\n) == 3\n",
        "# prints 2\nx = f(1)\nprint(x)\n",
        "f(1)  # 2\n",
    ],
)
def test_an_example_behind_the_program_is_not_the_program(example):
    text = f"```python\n{SOLUTION}```\nFor example:\n```python\n{example}```"
    assert find_program(text, ("code",), frozenset({"f"})) == SOLUTION
    assert find_program(text, ("code",)) == SOLUTION


def test_the_last_block_that_defines_what_the_tests_call_is_the_program():
    better = SOLUTION.replace("+ 1", "+ 2")
    helper = "def g(x):\n    return f(x)\n"
    text = "\n".join(f"```python\n{code}```" for code in (SOLUTION, better, helper))
    assert find_program(text, ("code",), frozenset({"f"})) == better
    assert find_program(text, ("code",), frozenset({"h"})) == helper
    assert find_program(f"```\n{SOLUTION}```\n```python\nf(1)\n```", ("code",), frozenset({"f"})) == SOLUTION
    assert find_program("```python\nclass Solution:\n    def f(self): 1\n```", ("code",), frozenset("f"))


def test_a_program_that_reads_or_prints_is_no_example():
    for program in ("print(int(input()) + 1)\n", "print(7)\n", "import sys\nprint(f(sys.stdin.read()))\n"):
        text = f"```python\n{SOLUTION}```\n```python\n{program}```"
        assert find_program(text, ("code",)) == program


@pytest.mark.parametrize(
    "opening",
    [
        "Here is the code: ```python",
        "1. ````Python3",
        "```{python}",
        "```{.python .numberLines}",
        "```python:main.py",
        "```py3",
        "``` ipython",
        "```python3.11",
    ],
)
def test_a_block_may_be_opened_in_several_ways(opening):
    closing = "`" * opening.count("`")
    text = f"{opening}\n{SOLUTION}{closing}\nIt prints\n```\n2\n```"
    assert find_program(text, ("code",)) == SOLUTION


def test_a_fence_in_a_string_opens_nothing():
    code = "print('```python')\n"
    assert find_program(f"```python\n{code}```", ("code",)) == code
