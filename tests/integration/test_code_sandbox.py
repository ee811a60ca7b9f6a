"""Verifier `code` in its real sandbox: what is right is scored 1, and nothing gets out."""

import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from apo_core.errors import ApoError
from apo_core.verifiers import Attempt, make_verifier, open_scorer
from apo_core.verifiers.code import sandbox
from benchmarks.code_problems import mistakes_of, problems
from benchmarks.hostile_kinds import KINDS
from benchmarks.hostile_programs import hostile_programs, outside, run

pytestmark = pytest.mark.needs_no_run

SECRET = "31415926"
PRINT = {"inputs": [SECRET[::-1]], "outputs": [SECRET]}
ASSERT = [f"assert f(1) == {SECRET}"]


def scorer(*, workers=2, seconds=2.0, rules=("code",)):
    verifier = make_verifier("code", rules, Path())
    return open_scorer(verifier, workers=workers, time_limit_seconds=seconds, memory_limit_mib=512)


@pytest.fixture(scope="module")
def pool():
    with scorer() as code:
        try:
            code.check()
        except ApoError as missing:  # a container that forbids namespaces; bubblewrap itself is a requirement
            pytest.skip(str(missing))
        yield code


def attempt(program, tests, row=None):
    answer = tests if isinstance(tests, str) else json.dumps(tests)
    return Attempt(f"```python\n{program}\n```", answer, json.dumps(row or {}))


def score(pool, program, tests, row=None):
    (verdict,) = pool.score([attempt(program, tests, row)])
    return verdict


HUMANEVAL = {"entry_point": "f", "prompt": "import math\n\ndef g(x):\n    return 2 * x\n\ndef f(x):\n"}
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n    assert math_or(candidate(3)) == 6\n"
CHECK += "def math_or(x):\n    return x\n"


@pytest.mark.parametrize(
    ("program", "tests", "row"),
    [
        ("print(input()[::-1])", PRINT, {}),
        ("import sys\nsys.stdout.write(sys.stdin.read()[::-1])\nexit()", PRINT, {}),
        ("print(open(0).read()[::-1])", PRINT, {}),
        ("def main():\n    print(input()[::-1])\nif __name__ == '__main__':\n    main()", PRINT, {}),
        ("import threading\nthreading.Thread(target=lambda: print(input()[::-1])).start()", PRINT, {}),
        ("import asyncio\nasync def f():\n    print(input()[::-1])\nasyncio.run(f())", PRINT, {}),
        ("import atexit\natexit.register(lambda: print(input()[::-1]))", PRINT, {}),
        ("import numpy as np\nprint(int(np.array([float(input()[::-1])]).sum()))", PRINT, {}),
        ("def f(x):\n    return x + 1", ["assert f(1) == 2", "assert not f(-1)"], {}),
        (
            "def f(x):\n    return x / 3",
            ["assert abs(f(1) - 0.3333333) < 1e-6", "import math; assert f(3)"],
            {},
        ),
        ("def f(x):\n    x.sort()", ["a = [2, 1]\nf(a)\nassert a == [1, 2]"], {}),
        (
            "def sum(a, b):\n    return a + b",
            ["assert sum(1, 2) == 3"],
            {"code": "def sum(a, b): return a + b"},
        ),
        (
            "class Pair:\n    def __init__(self, a):\n        self.a = a\n"
            "def f(pairs):\n    return [p.a for p in pairs]",
            ["assert f([Pair(1), Pair(2)]) == [1, 2]", "assert Pair(3).a == 3"],
            {},
        ),
        (
            "def f(node):\n    return node.value",
            ["assert f(root) == 5"],
            {"test_setup_code": "class Node:\n    value = 5\nroot = Node()"},
        ),
        (
            "def f(x):\n    raise ValueError",
            ["try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    assert 0"],
            {},
        ),
        ("def f(x):\n    return g(x)", CHECK, HUMANEVAL),
        ("    return g(x)\n\nprint(f(", CHECK, HUMANEVAL),
        (
            "class Solution:\n    def f(self, a: List[int]) -> int:\n"
            "        return Counter(a).most_common(1)[0][0]",
            {"inputs": [[[1, 2, 2]], [[3]]], "outputs": [2, [3]], "fn_name": "f"},
            {},
        ),
        (
            "def f(x):\n    return x, {1: x / 3}",
            {"inputs": [[1]], "outputs": [[1, {"1": 0.3333333}]], "fn_name": "f"},
            {},
        ),
    ],
)
def test_right_programs(pool, program, tests, row):
    verdict = score(pool, program, tests, row)
    assert verdict.reward == 1.0, verdict.reason


@pytest.mark.parametrize(
    ("program", "tests", "reason"),
    [
        ("print(1)", PRINT, "0 of 1 tests passed; test 1: printed 1"),
        (
            "print(input()[::-1])\n1 / 0",
            PRINT,
            "0 of 1 tests passed; test 1: ZeroDivisionError: division by zero",
        ),
        ("while True: pass", PRINT, "0 of 1 tests passed; test 1: took longer than 2 s"),
        ("import time\ntime.sleep(60)", PRINT, "0 of 1 tests passed; test 1: took longer than 2 s"),
        ("x = bytearray(10**10)", PRINT, "0 of 1 tests passed; test 1: MemoryError"),
        ("while True: print('x' * 10**6)", PRINT, "0 of 1 tests passed; test 1: wrote too much"),
        ("import ctypes\nctypes.string_at(0)", PRINT, "0 of 1 tests passed; test 1: was killed by SIGSEGV"),
        ("def f(x:", ASSERT, "0 of 1 tests passed; test 1: SyntaxError: '(' was never closed"),
        (
            "def f(x):\n    return 2",
            ["assert f(1) == 2", "assert f(2) == 3"],
            "1 of 2 tests passed; test 2: Asser",
        ),
        ("", ASSERT, "the program is empty"),
        (
            "def f(x):\n    return x",
            {"inputs": [[1]], "outputs": [2], "fn_name": "g"},
            "NameError: there is no function g",
        ),
    ],
)
def test_wrong_programs_are_wrong_and_no_errors(pool, program, tests, reason):
    verdict = score(pool, program, tests)
    assert verdict.reward == 0.0
    assert reason in verdict.reason


# Programs that would pass without solving anything.
CHEATS = [
    "import os\nos._exit(0)",
    "raise SystemExit(0)",
    "def f(x):\n    raise SystemExit(0)",
    "import builtins\nbuiltins.AssertionError = ZeroDivisionError\ndef f(x):\n    return 1",
    "class Yes(int):\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Yes()",
    "class Yes:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Yes()",
    "class Yes(list):\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return Yes()",
    'import json\njson.dumps = lambda *_, **__: \'{"value": null, "changed": [null]}\'\n'
    "def f(x):\n    return 1",
    "import os\ndef f(x):\n    for file in range(64):\n        try:\n"
    "            os.write(file, b'\\0' * 7 + b'\\x11{\"problem\": null}')\n"
    "        except OSError:\n            pass\n    os._exit(0)",
    "import sys\ndef f(x):\n    frame = sys._getframe()\n"
    "    while frame:\n        if 'tests' in frame.f_locals:\n"
    "            return frame.f_locals\n        frame = frame.f_back",
    "import gc\ndef f(x):\n    return [o for o in gc.get_objects() if isinstance(o, dict) and 'tests' in o]",
    "import os\ndef f(x):\n    for process in range(1, 99):\n        try:\n            os.kill(process, 9)\n"
    "        except OSError:\n            pass",
    "import os\ndef f(x):\n    return int(open('/proc/%d/cmdline' % os.getppid()).read())",
]


@pytest.mark.parametrize("program", CHEATS)
def test_cheats_are_wrong(pool, program):
    assert score(pool, program, ASSERT).reward == 0.0
    assert score(pool, program, {"inputs": [[1]], "outputs": [int(SECRET)], "fn_name": "f"}).reward == 0.0
    assert score(pool, f"{program}\nprint(f(1))", PRINT).reward == 0.0


LOOK_FOR_ANSWERS = """
import ctypes, gc, os, sys

def memory():
    # Every object, and the bytes around it, that this process can reach.
    for thing in gc.get_objects():
        yield ctypes.string_at(id(thing), min(sys.getsizeof(thing), 4096))
        yield from (repr(part).encode() for part in gc.get_referents(thing) if type(part) in (str, bytes))
    for thing in sys.modules.values():
        yield repr(vars(thing)).encode()

def files():
    for number in range(300):
        try:
            size = os.fstat(number).st_size
            yield os.pread(number, size, 0)
        except OSError:
            pass

def f(x):
    backwards = b"62951413"  # or it would find what it looks for with
    return any(backwards in part[::-1] for whole in (memory(), files()) for part in whole)
"""


def test_the_answers_are_not_in_the_process_of_the_program(pool):
    tests = [f"assert f(1) is False, {SECRET}", f"assert {SECRET}"]
    verdict = score(pool, LOOK_FOR_ANSWERS, tests)
    assert verdict.reward == 1.0, verdict.reason
    calls = {"inputs": [[1]] * 2, "outputs": [False, int(SECRET)], "fn_name": "f"}
    assert score(pool, LOOK_FOR_ANSWERS, calls).reason.startswith(
        "1 of 2 tests passed; test 2: returned False"
    )


@pytest.mark.production
def test_200_problems():
    assert len(problems()) == len({problem.name for problem in problems()}) == 200
    with scorer(seconds=20.0) as code:
        assert mistakes_of(code) == []


@pytest.mark.long
def test_hostile_programs_of_every_kind(pool):
    with outside() as (target, touched):
        programs = list(hostile_programs(target, sorted(KINDS), 8 * len(KINDS)))
        assert len({program.attempt for program in programs}) == len(programs)
        problems_seen, _ = run(iter(programs), pool)
        assert problems_seen + touched() == []


def test_a_test_does_not_see_what_another_has_left(pool):
    program = "import os, sys, math\nprint(getattr(math, 'left', 0))\nmath.left = 1\nos.environ['left'] = '1'"
    assert score(pool, program, {"inputs": ["", ""], "outputs": ["0", "0"]}).reward == 1.0


def test_the_machine_is_out_of_reach(pool, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("unchanged")
    canary.chmod(0o666)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        programs = [
            f"open({str(canary)!r}, 'w').write('changed')",
            f"import os\nos.symlink({str(canary)!r}, 'link')\nopen('link', 'w').write('changed')",
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}))",
            "import os\nos.listdir('/proc')",
            f"import os\nos.kill({os.getpid()}, 9)",
            "import subprocess\nsubprocess.run(['sleep', '60'])",
            "import os\nwhile True:\n    os.fork()",
            "open('/tmp/file', 'wb')",
            "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
        ]
        verdicts = pool.score([attempt(program, PRINT) for program in programs])
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [verdict.reward for verdict in verdicts] == [0.0] * len(programs)
    assert [verdict.reason for verdict in verdicts if "Error" not in verdict.reason] == []
    assert canary.read_text() == "unchanged"
    assert list(tmp_path.iterdir()) == [canary]


def hold_open(ready):
    """Score an endless program in a process that multiprocessing starts."""
    with scorer(workers=1, seconds=60.0) as code:
        code.check()
        ready.send(None)
        code.score([attempt("while True: pass", PRINT)])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_sandbox_outlives_the_process_it_scores_for(number):
    context = multiprocessing.get_context("spawn")
    here, owners_end = context.Pipe()
    owner = context.Process(target=hold_open, args=(owners_end,))
    owner.start()
    here.recv()
    wait_for(lambda: any("inside.runner" in " ".join(child.cmdline()) for child in children(owner.pid)))
    running = children(owner.pid)
    os.kill(owner.pid, number)
    owner.join(timeout=20)
    wait_for(lambda: not list(filter(is_alive, running)))


def children(pid):
    running = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            child.cmdline()
            running.append(child)
        except psutil.NoSuchProcess:
            continue
    return running


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it has not come to pass in 20 s")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (None, "which is not installed: apt-get install bubblewrap"),
        (
            "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n",
            "No permissions to create",
        ),
        ("#!/bin/sh\nexit 0\n", "it ended before its time"),
    ],
)
def test_without_a_sandbox_nothing_runs(tmp_path, monkeypatch, program, problem):
    monkeypatch.setattr(sandbox, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    if program is not None:
        (tmp_path / "bwrap").write_text(program)
        (tmp_path / "bwrap").chmod(0o755)
    with pytest.raises(ApoError) as refused:
        make_verifier("code", ("code",), Path()).load()
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_tests_that_cannot_be_read_are_named(pool):
    rows = [attempt("", ASSERT), attempt("", ["assert f("]), attempt("", "18"), attempt("", CHECK)]
    refused = pool.answer_problems(rows)
    assert [problem and problem[:30] for problem in refused] == [
        None,
        "test 1: is no Python code: '('",
        "has no assertion",
        "defines check(candidate), but ",
    ]
