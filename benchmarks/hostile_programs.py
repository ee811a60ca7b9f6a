"""Runs hostile programs through verifier `code`: none may get out, pass a test, or stop the scoring.

    python -m benchmarks.hostile_programs [--programs N] [--only KIND]

The programs are made from kinds and variations with a fixed seed (`hostile_kinds.py`). While they run, files,
a TCP server and a Unix socket outside wait to be touched. Fails if anything was, if a program got a reward or
became an error, or if a process is left; prints programs per second and how they ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from apo_core.verifiers import Attempt, Scorer, Verdict, make_verifier, open_scorer
from benchmarks.hostile_kinds import KINDS, Outside, hostile_program

_BATCH = 500
_CANARY = "unchanged"


class Program(NamedTuple):
    """A hostile program and the tests that it must not pass."""

    kind: str
    attempt: Attempt


def main() -> None:
    """Print what became of the programs; exit with 1 if any got out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", type=int, default=10_000, help="number of programs")
    parser.add_argument("--time-limit", type=float, default=1.0, help="seconds per program")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--only", choices=sorted(KINDS), help="run this kind alone")
    arguments = parser.parse_args()
    kinds = [arguments.only] if arguments.only else sorted(KINDS)
    verifier = make_verifier("code", ("code",), Path())
    with (
        outside() as (target, touched),
        open_scorer(
            verifier, workers=arguments.workers, time_limit_seconds=arguments.time_limit, memory_limit_mib=512
        ) as scorer,
    ):
        scorer.check()
        problems, seconds = run(hostile_programs(target, kinds, arguments.programs), scorer)
        problems += touched()
    problems += [f"a process is left: {name}" for name in processes()]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{arguments.programs / seconds:.1f} programs/s with {arguments.workers} processes; load {load}")
    for problem in problems:
        print(problem)
    print("nothing got out" if not problems else f"{len(problems)} problems")
    sys.exit(bool(problems))


def hostile_programs(target: Outside, kinds: list[str], count: int) -> Iterator[Program]:
    """Make programs, which are the same in every run except for the addresses of what is outside."""
    rng = random.Random(0)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        secret = rng.randrange(10**9, 10**10)
        answer, row = rng.choice(_TESTS)(secret)
        source = hostile_program(kind, target, rng)
        yield Program(kind, Attempt(f"```python\n{source}\n```", answer, json.dumps(row)))


def run(programs: Iterator[Program], scorer: Scorer) -> tuple[list[str], float]:
    """Score the programs; return what went wrong, and the seconds it took."""
    problems: list[str] = []
    ends: Counter[tuple[str, str]] = Counter()
    started = time.perf_counter()
    while batch := list(islice(programs, _BATCH)):
        verdicts = scorer.score([program.attempt for program in batch])
        print(
            f"{sum(ends.values()) + len(batch):,} programs in {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        for program, verdict in zip(batch, verdicts, strict=True):
            ends[program.kind, _end(verdict)] += 1
            if verdict.reward != 0.0:
                problems.append(
                    f"{program.kind}: {verdict.reward}, {verdict.reason}\n{program.attempt.completion}"
                )
    seconds = time.perf_counter() - started
    for (kind, end), count in sorted(ends.items()):
        print(f"{count:6,} {kind}: {end}")
    return problems, seconds


def processes() -> list[str]:
    """List processes of sandboxes, once those that are ending have had time to."""
    left: list[str] = []
    for _ in range(20):
        left = [
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if process.info["cmdline"] and "inside.runner" in process.info["cmdline"][-1]
        ]
        if not left:
            break
        time.sleep(0.25)
    return left


@contextmanager
def outside() -> Iterator[tuple[Outside, Callable[[], list[str]]]]:
    """Lay out what programs may try to reach; yields addresses, and what lists what was touched."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="canary")))
        folder.chmod(0o777)
        canary = folder / "canary"
        canary.write_text(_CANARY)
        canary.chmod(0o666)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(f"\0{folder.name}")  # an abstract address, which is no file
        unix.listen(100)
        for waiting in (server, unix):
            waiting.setblocking(False)

        def touched() -> list[str]:
            changed = [] if canary.read_text() == _CANARY else ["the file outside was changed"]
            changed += [f"a file was made outside: {path}" for path in folder.iterdir() if path != canary]
            return changed + [f"{name} was reached" for name in _reached({"TCP": server, "Unix": unix})]

        yield Outside(str(canary), server.getsockname()[1], folder.name, os.getpid()), touched


def _reached(servers: dict[str, socket.socket]) -> Iterator[str]:
    for name, server in servers.items():
        try:
            server.accept()
        except BlockingIOError:
            continue
        yield name


def _end(verdict: Verdict) -> str:
    """Say how a program ended, without what varies."""
    if verdict.reward is None:
        return verdict.reason
    reason = verdict.reason.partition("; test 1: ")[2] or verdict.reason
    return re.sub(r"[\d'\"].*", "...", reason.partition(":")[0])[:40]


def _prints(secret: int) -> tuple[str, dict[str, str]]:
    return json.dumps({"inputs": ["1\n"], "outputs": [f"{secret}\n"]}), {}


def _calls(secret: int) -> tuple[str, dict[str, str]]:
    return json.dumps({"inputs": [[1]], "outputs": [secret], "fn_name": "f"}), {}


def _asserts(secret: int) -> tuple[str, dict[str, str]]:
    return json.dumps([f"assert f(1) == {secret}", f"assert abs(f(2) - {secret}) < 1"]), {}


def _checks(secret: int) -> tuple[str, dict[str, str]]:
    test = (
        f"def check(candidate):\n    assert candidate(1) == {secret}\n    assert candidate(2) in [{secret}]\n"
    )
    return test, {"entry_point": "f", "prompt": "def f(x):\n"}


_TESTS = [_prints, _calls, _asserts, _checks]

if __name__ == "__main__":
    main()
