"""200 small problems, each with tests, a right program and a wrong one, for verifier `code`.

    python -m benchmarks.code_problems [--rounds N]

Fifty families with four parameters each; the tests are in one of the forms of `FORMS`, in turn. What is
expected comes from an oracle that goes another way than the right program; the wrong program makes a usual
mistake: off by one, a forgotten case, the wrong order. Fails unless every right program gets 1 and every wrong
one 0; prints programs per second.
"""

# ruff: noqa: E501 - a program is one text

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise, permutations
from math import gcd, isqrt, prod
from pathlib import Path
from typing import Any, NamedTuple

from apo_core.verifiers import Attempt, Scorer, make_verifier, open_scorer

Arguments = tuple[Any, ...]


class Family(NamedTuple):
    """Problems that differ in a parameter, which stands in the programs as P."""

    parameters: tuple[Any, ...]
    oracle: Callable[..., Any]  # of the parameter and the arguments
    right: str  # body of solve(a) or solve(a, b)
    wrong: str
    tests: tuple[Arguments, ...]


class Problem(NamedTuple):
    """One problem."""

    name: str
    answer: str
    row: dict[str, Any]
    right: str
    wrong: str


def main() -> None:
    """Score all programs; print what is not as it should be, and the speed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="how often to score all of them")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    arguments = parser.parse_args()
    verifier = make_verifier("code", ("code",), Path())
    with open_scorer(
        verifier, workers=arguments.workers, time_limit_seconds=10.0, memory_limit_mib=1024
    ) as scorer:
        scorer.check()
        started = time.perf_counter()
        mistakes = [mistake for _ in range(arguments.rounds) for mistake in mistakes_of(scorer)]
        seconds = time.perf_counter() - started
    for mistake in mistakes:
        print(mistake)
    programs = 2 * len(problems()) * arguments.rounds
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{programs / seconds:.1f} programs/s with {arguments.workers} processes; load {load}")
    print(f"{len(mistakes)} of {programs} programs scored wrongly")
    sys.exit(bool(mistakes))


def mistakes_of(scorer: Scorer) -> list[str]:
    """Score the right and the wrong program of every problem; describe each that does not get what it should."""
    cases = [
        (problem, reward, program)
        for problem in problems()
        for reward, program in ((1.0, problem.right), (0.0, problem.wrong))
    ]
    attempts = [
        Attempt(f"So:\n```python\n{program}```\n", problem.answer, json.dumps(problem.row))
        for problem, _, program in cases
    ]
    return [
        f"{problem.name}: {verdict.reward} in the place of {reward}: {verdict.reason}\n{program}"
        for (problem, reward, program), verdict in zip(cases, scorer.score(attempts), strict=True)
        if verdict.reward != reward
    ]


def problems() -> list[Problem]:
    """Make the problems."""
    made = []
    for number, (name, family) in enumerate(FAMILIES.items()):
        for index, parameter in enumerate(family.parameters):
            form = FORMS[(number + index) % len(FORMS)]
            right, wrong = (_function(family, body, parameter) for body in (family.right, family.wrong))
            expected = [family.oracle(parameter, *arguments) for arguments in family.tests]
            answer, row, ending = form(family.tests, expected)
            made.append(Problem(f"{name} {parameter!r}", answer, row, right + ending, wrong + ending))
    return made


def _function(family: Family, body: str, parameter: Any) -> str:
    names = ", ".join("abc"[: len(family.tests[0])])
    lines = body.replace("PARAMETER", repr(parameter)).strip("\n").splitlines()
    return f"def solve({names}):\n" + "".join(f"    {line}\n" for line in lines)


def _assertions(tests: tuple[Arguments, ...], expected: list[Any]) -> tuple[str, dict[str, Any], str]:
    lines = [f"assert solve({_listed(test)}) == {want!r}" for test, want in zip(tests, expected, strict=True)]
    return json.dumps(lines), {"test_setup_code": "", "test_list": lines}, ""


def _check(tests: tuple[Arguments, ...], expected: list[Any]) -> tuple[str, dict[str, Any], str]:
    lines = [
        f"assert candidate({_listed(test)}) == {want!r}" for test, want in zip(tests, expected, strict=True)
    ]
    code = "def check(candidate):\n" + "".join(f"    {line}\n" for line in lines)
    return code, {"entry_point": "solve", "prompt": "from typing import List\n\n\ndef solve("}, ""


def _calls(tests: tuple[Arguments, ...], expected: list[Any]) -> tuple[str, dict[str, Any], str]:
    return json.dumps({"fn_name": "solve", "inputs": tests, "outputs": expected}), {}, ""


def _lines(tests: tuple[Arguments, ...], expected: list[Any]) -> tuple[str, dict[str, Any], str]:
    inputs = ["".join(f"{json.dumps(argument)}\n" for argument in test) for test in tests]
    outputs = [" ".join(map(str, want)) if isinstance(want, list) else str(want) for want in expected]
    ending = """
import json
import sys

result = solve(*map(json.loads, sys.stdin))
print(*result) if isinstance(result, list) else print(result)
"""
    return json.dumps({"inputs": inputs, "outputs": outputs}), {}, ending


def _listed(arguments: Arguments) -> str:
    return ", ".join(map(repr, arguments))


FORMS = (_assertions, _check, _calls, _lines)


def _digits(number: int, base: int) -> list[int]:
    return [] if number == 0 else [*_digits(number // base, base), number % base]


def _primes(below: int) -> list[int]:
    return [n for n in range(2, below) if all(n % d for d in range(2, n))]


def _runs(text: str) -> list[str]:
    runs: list[str] = []
    for character in text:
        if runs and runs[-1][0] == character:
            runs[-1] += character
        else:
            runs.append(character)
    return runs


def _recurrence(weights: tuple[int, int], n: int) -> int:
    first, second = 0, 1
    for _ in range(n):
        first, second = second, weights[0] * second + weights[1] * first
    return first


_NUMBERS: tuple[Arguments, ...] = (
    ([3, 1, 2],),
    ([5],),
    ([7, 7, 1, 0, 9, 4],),
    ([-3, -1, -2, 8],),
    ([],),
    ([2, 4, 6, 8, 10, 12],),
)
_FILLED = tuple(test for test in _NUMBERS if test[0])
_TEXTS = (("hello world",), ("",), ("Abba",), ("a1b2 c3",), ("zzz Xyz!",), ("The quick brown fox",))
_COUNTS = ((0,), (1,), (2,), (7,), (30,), (100,), (255,))
_POSITIVE = _COUNTS[1:]

FAMILIES: dict[str, Family] = {
    "sum of digits in base": Family(
        (2, 3, 10, 16),
        lambda p, a: sum(_digits(a, p)),
        "total = 0\nwhile a:\n    a, digit = divmod(a, PARAMETER)\n    total += digit\nreturn total",
        "total = 0\nwhile a >= PARAMETER:\n    a, digit = divmod(a, PARAMETER)\n    total += digit\nreturn total",
        _COUNTS,
    ),
    "digits reversed in base": Family(
        (2, 5, 8, 10),
        lambda p, a: sum(d * p**i for i, d in enumerate(_digits(a, p))),
        "result = 0\nwhile a:\n    result = result * PARAMETER + a % PARAMETER\n    a //= PARAMETER\nreturn result",
        "digits = []\nwhile a >= PARAMETER:\n    digits.append(a % PARAMETER)\n    a //= PARAMETER\n"
        "return sum(d * PARAMETER**i for i, d in enumerate(digits[::-1]))",
        _COUNTS,
    ),
    "palindrome in base": Family(
        (2, 3, 7, 10),
        lambda p, a: _digits(a, p) == _digits(a, p)[::-1],
        "original, turned = a, 0\nwhile a:\n    turned = turned * PARAMETER + a % PARAMETER\n    a //= PARAMETER\n"
        "return turned == original",
        "return a % PARAMETER != 0",
        (*_COUNTS, (5,), (9,), (121,), (10,), (26,), (12,)),
    ),
    "power sum": Family(
        (1, 2, 3, 4),
        lambda p, a: sum(n**p for n in range(a + 1)),
        "total = 0\nfor n in range(1, a + 1):\n    total += n**PARAMETER\nreturn total",
        "return sum(n**PARAMETER for n in range(a))",
        _COUNTS,
    ),
    "polygonal number": Family(
        (3, 5, 6, 8),
        lambda p, a: sum(1 + (p - 2) * k for k in range(a)),
        "return ((PARAMETER - 2) * a * a - (PARAMETER - 4) * a) // 2",
        "return ((PARAMETER - 2) * a * a + (PARAMETER - 4) * a) // 2 + a % 2",
        _COUNTS,
    ),
    "divisible count": Family(
        (2, 3, 7, 12),
        lambda p, a: len([n for n in range(a + 1) if n % p == 0]),
        "return a // PARAMETER + 1",
        "return a // PARAMETER",
        _COUNTS,
    ),
    "next multiple": Family(
        (2, 5, 9, 64),
        lambda p, a: next(n for n in range(a, a + p) if n % p == 0),
        "return -(-a // PARAMETER) * PARAMETER",
        "return (a // PARAMETER + 1) * PARAMETER",
        (*_COUNTS, (64,), (45,), (90,)),
    ),
    "bits of a mask": Family(
        (1, 6, 85, 240),
        lambda p, a: bin(a & p).count("1"),
        "count, rest = 0, a & PARAMETER\nwhile rest:\n    rest &= rest - 1\n    count += 1\nreturn count",
        "return bin(a | PARAMETER).count('1')",
        _COUNTS,
    ),
    "coprime count": Family(
        (6, 10, 30, 7),
        lambda p, a: sum(1 for n in range(1, a + 1) if gcd(n, p) == 1),
        "from math import gcd\ncount = 0\nfor n in range(1, a + 1):\n    count += gcd(n, PARAMETER) == 1\nreturn count",
        "return sum(1 for n in range(1, a + 1) if PARAMETER % n)",
        _COUNTS,
    ),
    "number of divisors above": Family(
        (0, 1, 3, 10),
        lambda p, a: sum(1 for d in range(1, a + 1) if a % d == 0 and d > p),
        "found = set()\nd = 1\nwhile d * d <= a:\n    if a % d == 0:\n        found |= {d, a // d}\n    d += 1\n"
        "return sum(d > PARAMETER for d in found)",
        "return sum(a % d == 0 and d > PARAMETER for d in range(1, a))",
        _POSITIVE,
    ),
    "primes in steps": Family(
        (1, 2, 3, 5),
        lambda p, a: _primes(a)[::p],
        "sieve = [True] * max(a, 2)\nfor n in range(2, a):\n    if sieve[n]:\n        for m in range(n * n, a, n):\n"
        "            sieve[m] = False\nreturn [n for n in range(2, a) if sieve[n]][::PARAMETER]",
        "return [n for n in range(2, a) if n == 2 or n % 2][::PARAMETER]",
        _COUNTS,
    ),
    "recurrence": Family(
        ((1, 1), (2, 1), (1, 2), (3, -1)),
        lambda p, a: _recurrence(p, a),
        "p, q = PARAMETER\nvalues = [0, 1]\nwhile len(values) <= a:\n    values.append(p * values[-1] + q * values[-2])\n"
        "return values[a]",
        "p, q = PARAMETER\nx, y = 1, 1\nfor _ in range(a):\n    x, y = y, p * y + q * x\nreturn x",
        ((0,), (1,), (2,), (5,), (12,)),
    ),
    "power with modulus": Family(
        (7, 10, 97, 1000),
        lambda p, a, b: a**b % p,
        "return pow(a, b, PARAMETER)",
        "return a * b % PARAMETER",
        ((2, 10), (3, 0), (5, 3), (10, 9), (7, 77)),
    ),
    "collatz steps": Family(
        (3, 5, 7, 9),
        lambda p, a: _collatz(p, a),
        "steps = 0\nwhile a > 1 and steps < 50:\n    a = a // 2 if a % 2 == 0 else PARAMETER * a + 1\n    steps += 1\n"
        "return steps",
        "steps = 0\nwhile a > 2 and steps < 50:\n    a = a // 2 if a % 2 == 0 else PARAMETER * a + 1\n    steps += 1\n"
        "return steps",
        _POSITIVE,
    ),
    "roman and base": Family(
        ("I", "V", "X", "IX"),
        lambda p, a: _roman(a).count(p),
        "text = ''\nfor value, sign in ((100, 'C'), (90, 'XC'), (50, 'L'), (40, 'XL'), (10, 'X'), (9, 'IX'), (5, 'V'),"
        " (4, 'IV'), (1, 'I')):\n    text += sign * (a // value)\n    a %= value\nreturn text.count(PARAMETER)",
        "return a // {'I': 1, 'V': 5, 'X': 10, 'IX': 9}[PARAMETER] + 1",
        (*_COUNTS, (4,), (9,), (14,), (49,), (88,)),
    ),
    "rotate": Family(
        (1, 2, -1, 5),
        lambda p, a: [a[(i + p) % len(a)] for i in range(len(a))],
        "k = PARAMETER % len(a) if a else 0\nreturn a[k:] + a[:k]",
        "k = PARAMETER % len(a) if a else 0\nreturn a[-k:] + a[:-k]",
        _NUMBERS,
    ),
    "windows": Family(
        (1, 2, 3, 4),
        lambda p, a: [sum(a[i : i + p]) for i in range(len(a) - p + 1)],
        "sums = [0]\nfor value in a:\n    sums.append(sums[-1] + value)\n"
        "return [sums[i + PARAMETER] - sums[i] for i in range(len(a) - PARAMETER + 1)]",
        "return [sum(a[i:i + PARAMETER]) for i in range(len(a))] + [0]",
        _NUMBERS,
    ),
    "chunks": Family(
        (1, 2, 3, 4),
        lambda p, a: [sum(x for i, x in enumerate(a) if i // p == c) for c in range(-(-len(a) // p))],
        "return [sum(a[i:i + PARAMETER]) for i in range(0, len(a), PARAMETER)]",
        "return [sum(a[i:i + PARAMETER]) for i in range(0, len(a) - PARAMETER + 1, PARAMETER + 1)]",
        _NUMBERS,
    ),
    "largest": Family(
        (1, 2, 3, 4),
        lambda p, a: sorted(a)[::-1][:p],
        "import heapq\nreturn heapq.nlargest(PARAMETER, a)",
        "return a[:PARAMETER]",
        _NUMBERS,
    ),
    "pairs with sum": Family(
        (4, 8, 10, 14),
        lambda p, a: sum(1 for i, x in enumerate(a) for y in a[i + 1 :] if x + y == p),
        "seen, count = {}, 0\nfor x in a:\n    count += seen.get(PARAMETER - x, 0)\n    seen[x] = seen.get(x, 0) + 1\n"
        "return count",
        "return sum(1 for x in a for y in a if x + y == PARAMETER)",
        (*_NUMBERS, ([2, 2, 2, 6, 5, 5],), ([7, 7, 4, 4],)),
    ),
    "clipped": Family(
        (2, 3, 5, 0),
        lambda p, a: [x if abs(x) <= p else (p if x > 0 else -p) for x in a],
        "return [max(-PARAMETER, min(PARAMETER, x)) for x in a]",
        "return [min(PARAMETER, x) for x in a]",
        (*_NUMBERS, ([-20, 30, -7],)),
    ),
    "differences": Family(
        (1, 2, 3, 0),
        lambda p, a: _differences(p, a),
        "for _ in range(PARAMETER):\n    a = [y - x for x, y in zip(a, a[1:])]\nreturn a",
        "for _ in range(PARAMETER + 1):\n    a = [y - x for x, y in zip(a, a[1:])]\nreturn a",
        _NUMBERS,
    ),
    "longest rise": Family(
        (0, 1, 2, 3),
        lambda p, a: max(
            (n for n in range(1, len(a) + 1) for i in range(len(a) - n + 1) if _rises(a[i : i + n], p)),
            default=0,
        ),
        "best = length = 0\nfor i, x in enumerate(a):\n"
        "    length = length + 1 if i and x - a[i - 1] > PARAMETER else 1\n    best = max(best, length)\nreturn best",
        "best = length = 0\nfor i, x in enumerate(a):\n    length = length + 1 if i and x > a[i - 1] else 0\n"
        "    best = max(best, length)\nreturn best + 0 * PARAMETER",
        (*_NUMBERS, ([1, 2, 4, 7, 8, 20],), ([5, 1, 6, 10, 14],)),
    ),
    "largest sum of a stretch": Family(
        (0, 1, 5, 9),
        lambda p, a: max(sum(a[i:j]) for i in range(len(a)) for j in range(i + 1, len(a) + 1)) + p,
        "best = here = a[0]\nfor x in a[1:]:\n    here = max(x, here + x)\n    best = max(best, here)\nreturn best + PARAMETER",
        "best = here = 0\nfor x in a:\n    here = max(0, here + x)\n    best = max(best, here)\nreturn best + PARAMETER",
        (*_FILLED, ([-4, -2, -7],), ([2, -1, 3, -9, 4],)),
    ),
    "subsets with sum": Family(
        (3, 6, 9, 12),
        lambda p, a: sum(
            1 for mask in range(2 ** len(a)) if sum(x for i, x in enumerate(a) if mask >> i & 1) == p
        ),
        "ways = {0: 1}\nfor x in a:\n    for total, count in list(ways.items()):\n"
        "        ways[total + x] = ways.get(total + x, 0) + count\nreturn ways.get(PARAMETER, 0)",
        "ways = {0}\nfor x in a:\n    ways |= {total + x for total in ways}\nreturn int(PARAMETER in ways) + len(a) % 2",
        (([3, 1, 2],), ([1, 2, 3, 4, 5, 6],), ([2, 4, 6, 3, 3],), ([-3, 3, 6, 9],), ([],)),
    ),
    "coins": Family(
        ([1, 4, 5], [1, 3, 4], [2, 3], [5, 7]),
        lambda p, a: _coins(p, a),
        "best = [0] + [None] * a\nfor total in range(1, a + 1):\n"
        "    known = [best[total - c] for c in PARAMETER if c <= total and best[total - c] is not None]\n"
        "    best[total] = min(known) + 1 if known else None\nreturn -1 if best[a] is None else best[a]",
        "count = 0\nfor c in sorted(PARAMETER, reverse=True):\n    count += a // c\n    a %= c\nreturn count",
        ((0,), (1,), (3,), (6,), (10,), (14,), (21,), (4,), (8,)),
    ),
    "ways to climb": Family(
        ([1, 2], [1, 3], [2, 3], [1, 2, 3]),
        lambda p, a: 1 if a == 0 else sum(FAMILIES["ways to climb"].oracle(p, a - s) for s in p if s <= a),
        "ways = [1] + [0] * a\nfor n in range(1, a + 1):\n    ways[n] = sum(ways[n - s] for s in PARAMETER if s <= n)\n"
        "return ways[a]",
        "ways = [1] + [0] * a\nfor s in PARAMETER:\n    for n in range(s, a + 1):\n        ways[n] += ways[n - s]\nreturn ways[a]",
        ((0,), (1,), (2,), (5,), (9,), (12,)),
    ),
    "grid paths": Family(
        (0, 1, 2, 3),
        lambda p, a, b: (
            1
            if a == 0 or b == 0
            else sum(FAMILIES["grid paths"].oracle(p, *n) for n in ((a - 1, b), (a, b - 1))) + p
        ),
        "row = [1] * (b + 1)\nfor _ in range(a):\n    for j in range(1, b + 1):\n        row[j] += row[j - 1] + PARAMETER\nreturn row[b]",
        "row = [1] * b\nfor _ in range(a):\n    for j in range(1, b):\n        row[j] += row[j - 1] + PARAMETER\nreturn row[-1] if row else 1",
        ((0, 3), (1, 1), (2, 3), (4, 4), (5, 2)),
    ),
    "josephus": Family(
        (2, 3, 4, 7),
        lambda p, a: _josephus(p, a),
        "position = 0\nfor n in range(2, a + 1):\n    position = (position + PARAMETER) % n\nreturn position + 1",
        "position = 0\nfor n in range(2, a + 1):\n    position = (position + PARAMETER) % n\nreturn position",
        ((1,), (2,), (5,), (12,), (41,)),
    ),
    "caesar": Family(
        (1, 3, 13, 25),
        lambda p, a: "".join(_shifted(c, p) for c in a),
        "import string\nlow, up = string.ascii_lowercase, string.ascii_uppercase\nk = PARAMETER\n"
        "return a.translate(str.maketrans(low + up, low[k:] + low[:k] + up[k:] + up[:k]))",
        "return ''.join(chr(ord(c) + PARAMETER) if c.isalpha() else c for c in a)",
        _TEXTS,
    ),
    "vowels": Family(
        ("aeiou", "aeiouy", "aou", "ei"),
        lambda p, a: len([c for c in a.lower() if c in p]),
        "return sum(a.count(v) + a.count(v.upper()) for v in PARAMETER)",
        "return sum(a.count(v) for v in PARAMETER) + a.istitle()",
        (*_TEXTS, ("AEIOU Ye Old Oak",), ("Eye Aunt",)),
    ),
    "every n-th character": Family(
        (2, 3, 4, 5),
        lambda p, a: "".join(c for i, c in enumerate(a) if i % p == 0),
        "return a[::PARAMETER]",
        "return a[PARAMETER - 1::PARAMETER]",
        (*_TEXTS, ("abcdefghij",)),
    ),
    "words of length": Family(
        (1, 3, 4, 5),
        lambda p, a: " ".join(w for w in a.split() if len(w) >= p),
        "kept = []\nfor word in a.split():\n    if len(word) >= PARAMETER:\n        kept.append(word)\nreturn ' '.join(kept)",
        "return ' '.join(word for word in a.split() if len(word) > PARAMETER)",
        (*_TEXTS, ("a bcd efgh ijklm",)),
    ),
    "turned in blocks": Family(
        (2, 3, 4, 5),
        lambda p, a: "".join(a[i : i + p][::-1] for i in range(0, len(a), p)),
        "out, block = '', ''\nfor c in a:\n    block = c + block\n    if len(block) == PARAMETER:\n        out, block = out + block, ''\n"
        "return out + block",
        "return ''.join(a[i:i + PARAMETER][::-1] for i in range(0, len(a) - PARAMETER + 1, PARAMETER))",
        (*_TEXTS, ("abcdefghijk",), ("abcdefg",)),
    ),
    "runs at least": Family(
        (1, 2, 3, 4),
        lambda p, a: len([run for run in _runs(a) if len(run) >= p]),
        "from itertools import groupby\nreturn sum(len(list(group)) >= PARAMETER for _, group in groupby(a))",
        "return sum(a.count(c) >= PARAMETER for c in set(a)) + ('aa' in a)",
        (("aaabccdddd",), ("",), ("abc",), ("zzzz",), ("aabaa",), ("baaaab",)),
    ),
    "run lengths": Family(
        ("", "x", ":", "*"),
        lambda p, a: "".join(f"{len(run)}{p}{run[0]}" for run in _runs(a)),
        "out, i = [], 0\nwhile i < len(a):\n    j = i\n    while j < len(a) and a[j] == a[i]:\n        j += 1\n"
        "    out.append(str(j - i) + PARAMETER + a[i])\n    i = j\nreturn ''.join(out)",
        "out = ''\nfor c in sorted(set(a)):\n    out += str(a.count(c)) + PARAMETER + c\nreturn out",
        (("aaabccdddd",), ("",), ("aba",), ("zzzz",), ("11",)),
    ),
    "characters that occur": Family(
        (1, 2, 3, 4),
        lambda p, a: "".join(c for i, c in enumerate(a) if a.count(c) == p and a.index(c) == i),
        "from collections import Counter\nreturn ''.join(c for c, n in Counter(a).items() if n == PARAMETER)",
        "return ''.join(c for c in sorted(set(a)) if a.count(c) >= PARAMETER)",
        (("banana",), ("mississippi",), ("",), ("zyxzyzz",), ("aaaaabbbb",), ("hello world",)),
    ),
    "brackets": Family(
        ("()", "[]", "{}", "<>"),
        lambda p, a: _balanced(a.replace("o", p[0]).replace("c", p[1]), p),
        "depth = 0\nfor c in a.replace('o', PARAMETER[0]).replace('c', PARAMETER[1]):\n    depth += (c == PARAMETER[0]) - (c == PARAMETER[1])\n"
        "    if depth < 0:\n        return False\nreturn depth == 0",
        "text = a.replace('o', PARAMETER[0]).replace('c', PARAMETER[1])\nreturn text.count(PARAMETER[0]) == text.count(PARAMETER[1])",
        (("oc",), ("co",), ("oocc",), ("occo",), ("",), ("ooc",)),
    ),
    "text in base": Family(
        (2, 3, 8, 16),
        lambda p, a: "".join("0123456789abcdef"[d] for d in _digits(a, p)) or "0",
        "if a == 0:\n    return '0'\nout = ''\nwhile a:\n    a, d = divmod(a, PARAMETER)\n    out = '0123456789abcdef'[d] + out\nreturn out",
        "out = ''\nwhile a:\n    a, d = divmod(a, PARAMETER)\n    out += '0123456789abcdef'[d]\nreturn out",
        ((0,), (1,), (6,), (30,), (255,), (100,)),
    ),
    "edit distance": Family(
        (1, 2, 3, 4),
        lambda p, a, b: _distance(a, b, p),
        "row = list(range(len(b) + 1))\nfor i, x in enumerate(a, 1):\n    last, row[0] = row[0], i\n    for j, y in enumerate(b, 1):\n"
        "        last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y) * PARAMETER)\nreturn row[-1]",
        "return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b)) * PARAMETER + (a > b)",
        (("kitten", "sitting"), ("", "abc"), ("flaw", "lawn"), ("same", "same"), ("sunday", "saturday")),
    ),
    "longest common subsequence": Family(
        (0, 1, 2, 3),
        lambda p, a, b: _common(a, b) * (p + 1),
        "table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]\nfor i, x in enumerate(a):\n    for j, y in enumerate(b):\n"
        "        table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])\n"
        "return table[-1][-1] * (PARAMETER + 1)",
        "return len(set(a) & set(b)) * (PARAMETER + 1)",
        (("abcde", "ace"), ("", "x"), ("aggtab", "gxtxayb"), ("aaaa", "aa"), ("abc", "cba")),
    ),
    "transposed and scaled": Family(
        (1, 2, -1, 10),
        lambda p, a: [p * a[i][j] for j in range(len(a[0])) for i in range(len(a))],
        "return [PARAMETER * x for column in zip(*a) for x in column]",
        "return [PARAMETER * x for row in a for x in row]",
        (([[1, 2], [3, 4]],), ([[1, 2, 3]],), ([[1], [2]],), ([[5, 6], [7, 8], [9, 0]],)),
    ),
    "spiral from": Family(
        (0, 1, 2, 3),
        lambda p, a: _spiral(a)[p:],
        "out = []\nwhile a:\n    out += a[0]\n    a = [list(row) for row in zip(*a[1:])][::-1]\nreturn out[PARAMETER:]",
        "out = []\nwhile a:\n    out += a[0]\n    a = [list(row)[::-1] for row in zip(*a[1:])]\nreturn out[PARAMETER:]",
        (([[1, 2], [3, 4]],), ([[1, 2, 3], [4, 5, 6], [7, 8, 9]],), ([[1, 2, 3, 4], [5, 6, 7, 8]],)),
    ),
    "islands": Family(
        (1, 2, 3, 4),
        lambda p, a: _islands(a, p),
        "left = {(i, j) for i, row in enumerate(a) for j, x in enumerate(row) if x == PARAMETER}\ncount = 0\nwhile left:\n"
        "    count += 1\n    stack = [left.pop()]\n    while stack:\n        i, j = stack.pop()\n"
        "        for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):\n            if cell in left:\n"
        "                left.remove(cell)\n                stack.append(cell)\nreturn count",
        "return sum(row.count(PARAMETER) for row in a)",
        (([[1, 1, 2], [3, 4, 2], [3, 4, 1]],), ([[1, 2, 1], [2, 3, 4], [3, 3, 4]],), ([[]],)),
    ),
    "shortest path": Family(
        (1, 2, 3, 5),
        lambda p, a: _reached(a, p),
        "from collections import deque\nsteps, queue = {0: 0}, deque([0])\nwhile queue:\n    x = queue.popleft()\n"
        "    for y in (x + PARAMETER, x - 1, 2 * x):\n        if 0 <= y <= 60 and y not in steps:\n"
        "            steps[y] = steps[x] + 1\n            queue.append(y)\nreturn steps.get(a, -1)",
        "return a // PARAMETER + a % PARAMETER",
        ((0,), (1,), (7,), (13,), (40,), (59,)),
    ),
    "merged intervals": Family(
        (0, 1, 2, 4),
        lambda p, a: _merged(a, p),
        "out = []\nfor start, end in sorted(a):\n    if out and start <= out[-1][1] + PARAMETER:\n"
        "        out[-1][1] = max(out[-1][1], end)\n    else:\n        out.append([start, end])\n"
        "return [x for interval in out for x in interval]",
        "out = []\nfor start, end in sorted(a):\n    if out and start <= out[-1][1] + PARAMETER:\n"
        "        out[-1][1] = end\n    else:\n        out.append([start, end])\n"
        "return [x for interval in out for x in interval]",
        (([[1, 9], [2, 3], [15, 18]],), ([[5, 6], [1, 2]],), ([],), ([[1, 4], [4, 5], [9, 12], [7, 8]],)),
    ),
    "permutation rank": Family(
        (0, 1, 2, 5),
        lambda p, a: [list(x) for x in permutations(sorted(a))].index(a) + p,
        "rank, rest, size = 0, sorted(a), 1\nfor n in range(1, len(a)):\n    size *= n\nfor k, x in enumerate(a):\n"
        "    rank += rest.index(x) * size\n    rest.remove(x)\n    size //= max(len(a) - 1 - k, 1)\nreturn rank + PARAMETER",
        "return sum(y < x for i, x in enumerate(a) for y in a[i:]) + PARAMETER",
        (([1, 2, 3],), ([3, 2, 1],), ([2, 4, 1, 3],), ([5, 1, 4, 2, 3],)),
    ),
    "square root": Family(
        (1, 10, 100, 7),
        lambda p, a: isqrt(a * p),
        "low, high = 0, a * PARAMETER + 1\nwhile high - low > 1:\n    middle = (low + high) // 2\n"
        "    low, high = (middle, high) if middle * middle <= a * PARAMETER else (low, middle)\nreturn low",
        "return round((a * PARAMETER) ** 0.5 + 0.3)",
        (*_COUNTS, (99,), (50,), (10**12,)),
    ),
    "trailing zeros of a factorial": Family(
        (2, 3, 5, 7),
        lambda p, a: _power_in(prod(range(1, a + 1)), p),
        "count = 0\nwhile a:\n    a //= PARAMETER\n    count += a\nreturn count",
        "return a // PARAMETER",
        _COUNTS,
    ),
    "leap years": Family(
        (400, 500, 800, 1000),
        lambda p, a: sum(1 for y in range(1, a + 1) if (y % 4 == 0 and y % 100 != 0) or y % p == 0),
        "from math import lcm\nreturn a // 4 - a // 100 + a // PARAMETER - (a // lcm(4, PARAMETER) - a // lcm(100, PARAMETER))",
        "return a // 4 - a // 100",
        ((3,), (4,), (100,), (400,), (1000,), (2024,)),
    ),
}


def _collatz(factor: int, a: int) -> int:
    return 0 if a <= 1 else _collatz_left(factor, a, 50)


def _collatz_left(factor: int, a: int, left: int) -> int:
    if a <= 1 or not left:
        return 0
    return 1 + _collatz_left(factor, factor * a + 1 if a % 2 else a // 2, left - 1)


def _roman(a: int) -> str:
    tens = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"]
    ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    return "C" * (a // 100) + tens[a % 100 // 10] + ones[a % 10]


def _differences(order: int, a: list[int]) -> list[int]:
    return a if not order else _differences(order - 1, [a[i + 1] - a[i] for i in range(len(a) - 1)])


def _rises(a: list[int], least: int) -> bool:
    return all(y - x > least for x, y in pairwise(a))


def _coins(coins: list[int], a: int) -> int:
    reached, count = {0}, 0
    while a not in reached:
        larger = {r + c for r in reached for c in coins if r + c <= a} | reached
        if larger == reached:
            return -1
        reached, count = larger, count + 1
    return count


def _josephus(step: int, a: int) -> int:
    people = list(range(1, a + 1))
    at = 0
    while len(people) > 1:
        at = (at + step - 1) % len(people)
        del people[at]
    return people[0]


def _shifted(character: str, by: int) -> str:
    if not character.isalpha():
        return character
    first = ord("a" if character.islower() else "A")
    return chr(first + (ord(character) - first + by) % 26)


def _balanced(text: str, pair: str) -> bool:
    while pair in text:
        text = text.replace(pair, "")
    return not text


def _distance(a: str, b: str, cost: int) -> int:
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return _distance(a[1:], b[1:], cost)
    changed = _distance(a[1:], b[1:], cost) + cost
    return min(changed, _distance(a[1:], b, cost) + 1, _distance(a, b[1:], cost) + 1)


def _common(a: str, b: str) -> int:
    if not a or not b:
        return 0
    return _common(a[1:], b[1:]) + 1 if a[0] == b[0] else max(_common(a[1:], b), _common(a, b[1:]))


def _spiral(a: list[list[int]]) -> list[int]:
    if not a or not a[0]:
        return []
    top, rest = a[0], a[1:]
    right = [row[-1] for row in rest]
    rest = [row[:-1] for row in rest]
    bottom = rest[-1][::-1] if rest else []
    left = [row[0] for row in rest[:-1] if row][::-1]
    return [*top, *right, *bottom, *left, *_spiral([row[1:] for row in rest[:-1]])]


def _islands(a: list[list[int]], kind: int) -> int:
    label = {(i, j): (i, j) for i, row in enumerate(a) for j, x in enumerate(row) if x == kind}
    for _ in label:
        for (i, j), own in list(label.items()):
            label[i, j] = min(
                own,
                label.get((i + 1, j), own),
                label.get((i, j + 1), own),
                label.get((i - 1, j), own),
                label.get((i, j - 1), own),
            )
    return len(set(label.values()))


def _reached(a: int, step: int) -> int:
    reached, count = {0}, 0
    while a not in reached:
        reached |= {y for x in reached for y in (x + step, x - 1, 2 * x) if 0 <= y <= 60}
        count += 1
        if count > 60:
            return -1
    return count


def _merged(a: list[list[int]], gap: int) -> list[int]:
    intervals = sorted(a)
    for i in range(len(intervals) - 1):
        if intervals[i + 1][0] <= intervals[i][1] + gap:
            joined = [intervals[i][0], max(intervals[i][1], intervals[i + 1][1])]
            return _merged([*intervals[:i], joined, *intervals[i + 2 :]], gap)
    return [x for interval in intervals for x in interval]


def _power_in(number: int, prime: int) -> int:
    return 0 if number % prime else 1 + _power_in(number // prime, prime)


if __name__ == "__main__":
    main()
