"""Verifier of Python programs: right if they pass all tests."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, shortened
from apo_core.verifiers.code.comparison import same_output, same_value
from apo_core.verifiers.code.gold_tests import Assertions, Calls, Runs, UnreadableTests, read_tests
from apo_core.verifiers.code.inside.values import decode, encode
from apo_core.verifiers.code.program import continued, find_program, library_of, modules_of, split_setup
from apo_core.verifiers.code.sandbox import Ending, Sandbox
from apo_core.verifiers.extraction import Rule, nothing

_KEPT = 1000  # last characters of a program that are kept as the answer that was read
_MORE, _MORE_BYTES = 8, 2**16  # how much longer than expected an output may be that is looked at
_CALLED = re.compile(r"([A-Za-z_]\w*)[ \t]*\(")
_SHOWN = 80  # characters of what went wrong


@dataclass(frozen=True)
class CodeVerifier:
    """`code`: runs the program of a completion in a sandbox against the gold answer's tests.

    It keeps the limits of time and memory itself: a program that is too slow is wrong, not an error.
    """

    rules: tuple[Rule, ...]
    sandbox: Sandbox = dataclasses.field(
        default_factory=lambda: Sandbox(time_limit_seconds=5.0, memory_limit_mib=2048)
    )
    name: ClassVar[str] = "code"
    bounded: ClassVar[bool] = False
    reads_row: ClassVar[bool] = True

    @property
    def version(self) -> str:
        """See `Verifier`; programs run on this Python, may use numpy, and are wrong beyond the limits."""
        try:
            numpy = version("numpy")
        except PackageNotFoundError:
            numpy = "none"
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        limits = f"{self.sandbox.time_limit:g}s+{self.sandbox.memory_limit_mib}MiB"
        return f"1+python-{python}+numpy-{numpy}+{limits}:{','.join(self.rules)}"

    def limited(self, *, time_limit_seconds: float, memory_limit_mib: int) -> CodeVerifier:
        """See `LimitsItself`."""
        sandbox = Sandbox(time_limit_seconds=time_limit_seconds, memory_limit_mib=memory_limit_mib)
        return dataclasses.replace(self, sandbox=sandbox)

    def load(self) -> None:
        """See `Verifier`.

        Raises:
            ApoError: there can be no sandbox.
        """
        self.sandbox.open()

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; runs nothing."""
        try:
            read_tests(answer, row)
        except UnreadableTests as problem:
            return str(problem)
        return None

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`.

        Raises:
            SandboxFailed: the sandbox did not work, whatever the program.
        """
        tests = read_tests(answer, row)
        program = find_program(completion, self.rules, _names_in(tests))
        if program is None:
            return nothing(self.rules)
        if not program.strip():
            return Verdict(0.0, None, "the program is empty")
        program = program.encode("utf-8", "replace").decode()  # half a surrogate pair is no source code
        problems = list(self._problems(program, tests))
        passed = problems.count(None)
        reason = f"{passed} of {len(problems)} tests passed"
        if passed < len(problems):
            number, problem = next((n, text) for n, text in enumerate(problems, 1) if text is not None)
            reason += f"; test {number}: {shortened(problem, _SHOWN)}"
        return Verdict(float(passed == len(problems)), program.strip()[-_KEPT:], reason)

    def _problems(self, program: str, tests: Runs | Calls | Assertions) -> Iterator[str | None]:
        """Run the tests; yield what is wrong for each, None if nothing is."""
        if isinstance(tests, Assertions):
            yield from self._check_assertions(program, tests)
        elif isinstance(tests, Calls):
            yield from self._check_calls(program, tests)
        else:
            yield from self._check_runs(program, tests)

    def _check_runs(self, program: str, tests: Runs) -> Iterator[str | None]:
        runs = [{"stdin": test.stdin, "call": None} for test in tests.tests]
        endings = self.sandbox.run(_job(program, runs=runs))
        for ending, test in zip(endings, tests.tests, strict=True):
            if ending.ended:
                yield self._described(ending)
            elif len(ending.output) > _MORE * len(test.expected) + _MORE_BYTES:
                yield "printed much more than expected"
            else:
                output = ending.output.decode("utf-8", "replace")
                yield (
                    None
                    if same_output(output, test.expected)
                    else f"printed {shortened(output) or 'nothing'}"
                )

    def _check_calls(self, program: str, tests: Calls) -> Iterator[str | None]:
        runs = [
            {
                "stdin": "",
                "call": {"name": tests.function, "arguments": [encode(value) for value in test.arguments]},
            }
            for test in tests.tests
        ]
        endings = self.sandbox.run(_job(program, prelude=library_of(program), runs=runs))
        for ending, test in zip(endings, tests.tests, strict=True):
            yield self._described(ending) if ending.ended else _call_problem(ending.output, test.expected)

    def _check_assertions(self, program: str, tests: Assertions) -> Iterator[str | None]:
        before, program = continued(program, tests.prompt, tests.candidate)
        imports, known_to_tests = split_setup(tests.setup)
        job = _job(program, prelude=f"{imports}\n{before}", setup=tests.setup)
        checks = {
            "tests": tests.tests,
            "prelude": known_to_tests,
            "candidate": tests.candidate,
            "functions": tests.functions,
        }
        (ending,) = self.sandbox.run(job, checks)
        results = _results(ending.output)
        yield from results
        for _ in range(len(tests.tests) - len(results)):
            yield self._described(ending)

    def _described(self, ending: Ending) -> str:
        if ending.ended == "time":
            return f"took longer than {self.sandbox.time_limit:g} s"
        if ending.ended == "output":
            return "wrote too much"
        kind, _, number = ending.ended.partition(" ")
        if kind == "signal":
            return f"was killed by {signal.Signals(int(number)).name}"
        return ending.problem or f"ended with exit status {number or 0}"


def _names_in(tests: Runs | Calls | Assertions) -> frozenset[str] | None:
    """List what a program may have to define for its tests; None if it reads and prints."""
    if isinstance(tests, Runs):
        return None
    if isinstance(tests, Calls):
        return frozenset({tests.function})
    return frozenset({tests.candidate} if tests.candidate else _CALLED.findall("\n".join(tests.tests)))


def _job(
    program: str, *, prelude: str = "", setup: str = "", runs: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Make a job of `inside.runner`; without runs it is one with assertions."""
    warm = modules_of(f"{prelude}\n{program}")
    return {"program": program, "prelude": prelude, "setup": setup, "runs": runs, "warm": warm}


def _call_problem(output: bytes, expected: Any) -> str | None:
    try:
        value = decode(json.loads(output))
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, MemoryError):
        return "returned nothing that can be compared"
    # APPS has what is returned in a list of one; not always.
    single = isinstance(expected, list) and len(expected) == 1
    try:
        same = same_value(value, expected) or (single and same_value(value, expected[0]))
        return None if same else f"returned {shortened(repr(value))}"
    except (RecursionError, MemoryError):
        return "returned nothing that can be compared"


def _results(output: bytes) -> list[str | None]:
    """Read the results of the assertions that were reached; the last may be cut off."""
    results: list[str | None] = []
    while len(output) >= 8:
        size = int.from_bytes(output[:8], "big")
        if len(output) < 8 + size:
            break
        results.append(json.loads(output[8 : 8 + size])["problem"])
        output = output[8 + size :]
    return results
