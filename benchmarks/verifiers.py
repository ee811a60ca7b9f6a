"""Measures every verifier on hostile completions: speed, errors and memory.

    python -m benchmarks.verifiers [--completions N] [--only VERIFIER]

The completions are random with a fixed seed: raw bytes, LaTeX by chance and by nesting, huge exponents, deep
brackets. Prints one line per verifier.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from apo_core.verifiers import Attempt, make_verifier, open_scorer
from apo_core.verifiers.extraction import Rule

RULES: dict[str, tuple[Rule, ...]] = {
    "numeric": ("hashes", "boxed", "tag", "last"),
    "gsm8k": ("hashes", "last"),
    "choice": ("boxed", "last"),
    "exact": ("tag", "whole"),
    "math": ("boxed", "last"),
    "reasoning_gym:chain_sum": ("tag", "whole"),
}
ANSWERS = {"gsm8k": "#### 42", "choice": "B"}  # reference answers; 42 for the other verifiers
_BATCH = 2_000
_TOKENS = r"""
\frac{ \sqrt{ \text{ \boxed{ \left( \right) \begin{pmatrix} \end{pmatrix} \int \sum_{ \pi \infty \% \cdot
\times \ne \{ \} \$ \, \\ ^ _ { } ^{ ( ) [ ] $ $$ & = < > + - * / ! , . | : ; #### <answer> </answer>
0 1 2 3 4 5 6 7 8 9 x y n"""
_LATEX = [*_TOKENS.split(), " ", "\n"]


class Measurement(NamedTuple):
    """Measurement of one verifier."""

    seconds: float
    outcomes: Counter[str]
    peak_mib: float  # peak memory of the largest of its processes


def main() -> None:
    """Print one line per verifier."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--completions", type=int, default=100_000, help="number per verifier")
    parser.add_argument("--time-limit", type=float, default=1.0, help="seconds per completion")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--only", choices=list(RULES), help="measure this verifier alone")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else list(RULES):
        if name.startswith("reasoning_gym") and find_spec("reasoning_gym") is None:
            continue
        # In a process of its own, because peak memory counts every process that this one has waited for.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            measurement = other.submit(
                measure, name, arguments.completions, arguments.time_limit, arguments.workers
            ).result()
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in measurement.outcomes.most_common())
        rate = arguments.completions / measurement.seconds
        print(
            f"{name}: {rate:,.0f} completions/s, peak {measurement.peak_mib:.0f} MiB: {outcomes}", flush=True
        )


def measure(name: str, completions: int, time_limit: float, workers: int) -> Measurement:
    """Score seeded completions, which are the same in every run."""
    noise = fuzz(random.Random(name), completions)
    answer, row = ANSWERS.get(name, "42"), json.dumps(_entry() if name.startswith("reasoning_gym") else {})
    outcomes: Counter[str] = Counter()
    seconds = 0.0
    verifier = make_verifier(name, RULES[name], Path())
    with open_scorer(
        verifier, workers=workers, time_limit_seconds=time_limit, memory_limit_mib=1024
    ) as scorer:
        scorer.check()
        while batch := [Attempt(text, answer, row) for text in islice(noise, _BATCH)]:
            started = time.perf_counter()
            verdicts = scorer.score(batch)
            seconds += time.perf_counter() - started
            outcomes.update(
                " ".join(verdict.reason.split()[:3]) if verdict.reward is None else "scored"
                for verdict in verdicts
            )
    who = resource.RUSAGE_SELF if verifier.bounded else resource.RUSAGE_CHILDREN
    return Measurement(seconds, outcomes, resource.getrusage(who).ru_maxrss / 1024)


def fuzz(rng: random.Random, count: int) -> Iterator[str]:
    """Hostile completions; some of them look like answers."""
    kinds = [_bytes, _latex, _latex, _nested, _nested, _numbers, _numbers, _numbers, _deep, _powers]
    for index in range(count):
        yield kinds[index % len(kinds)](rng)


def _bytes(rng: random.Random) -> str:
    return rng.randbytes(rng.randrange(2_000)).decode(rng.choice(["latin-1", "utf-8"]), "replace")


def _latex(rng: random.Random) -> str:
    return "".join(rng.choices(_LATEX, k=rng.randrange(120)))


def _nested(rng: random.Random) -> str:
    text = str(rng.randrange(100))
    for _ in range(rng.randrange(12)):
        other = rng.randrange(10)
        forms = [
            rf"\frac{{{text}}}{{{other}}}",
            rf"\sqrt{{{text}}}",
            rf"({text}+{other})",
            rf"{{{text}}}_{{n}}",
        ]
        text = rng.choice(forms)
    return rf"so $\boxed{{{text}}}$"


def _numbers(rng: random.Random) -> str:
    words = [
        "so",
        "is",
        "=",
        "####",
        "42",
        "B",
        "(B)",
        "A",
        "-",
        "1,000",
        "3.5e7",
        ".5",
        "7-5",
        r"\boxed{42}",
        "1e9999",
    ]
    return " ".join(rng.choices(words, k=rng.randrange(400)))


def _deep(rng: random.Random) -> str:
    # A dozen brackets in one another take math-verify minutes: it parses them in exponential time.
    depth = rng.choice([12, 30, 300, 3_000]) if rng.random() < 0.02 else rng.randrange(8)
    opened, closed = rng.choice(
        [("(", ")"), ("{", "}"), (r"\left(", r"\right)"), (r"\boxed{", "}"), ("[", "]")]
    )
    return rf"\boxed{{{opened * depth}42{closed * rng.choice([depth, depth, depth // 2])}}}"


def _powers(rng: random.Random) -> str:
    exponent = 10 ** rng.randrange(12) if rng.random() < 0.02 else rng.randrange(400)
    forms = [f"1e{exponent}", f"9^{{{exponent}}}", f"{exponent}!", f"2^{{-{exponent}}}", f"x^{{{exponent}}}"]
    return rf"\boxed{{{rng.choice(forms)}}}"


def _entry() -> dict[str, object]:
    from reasoning_gym.factory import create_dataset

    entry: dict[str, object] = create_dataset("chain_sum", seed=0, size=1)[0]
    return entry


if __name__ == "__main__":
    main()
