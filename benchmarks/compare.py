"""Ours beside TRL's A2POTrainer and GRPOTrainer: `make bench`.

    python -m benchmarks.compare --peer-python PYTHON [--shape tiny|135m] [--repeats N]

Every contestant is a process of its own with two threads, one at a time, in turn, several times over; what
is compared are medians of one run. Those in bfloat16 take part where the processor multiplies faster in it,
those with vLLM where it is installed. Writes a table, a picture and all measurements to `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.contestants import A2PO, CONTESTANTS, GRPO, Contestant
from benchmarks.phases import gemm_rate
from benchmarks.processes import ProcessFailed, run_module
from benchmarks.report import draw, table_of
from benchmarks.workload import SHAPES, THREADS

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main() -> None:
    """Run all contestants in turn, and write what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--shape", choices=list(SHAPES), action="append")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    rates = {dtype: gemm_rate(dtype) for dtype in ("float32", "bfloat16")}
    contestants = present(rates)
    for shape in arguments.shape or SHAPES:
        runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
        for turn in range(arguments.repeats):
            for contestant in contestants:
                found = measure(contestant, arguments.peer_python, shape)
                runs[contestant.name].append(found)
                print(
                    f"{shape}, turn {turn + 1} of {arguments.repeats}: {contestant.name}: {found}", flush=True
                )
        write(shape, rates, runs)


def present(rates: dict[str, float]) -> list[Contestant]:
    """Those that this machine can hold a contest of."""
    fast = rates["bfloat16"] > rates["float32"]
    engine = find_spec("vllm") is not None
    return [
        contestant
        for contestant in CONTESTANTS
        if (fast or not contestant.bfloat16) and (engine or not contestant.vllm)
    ]


def measure(contestant: Contestant, peer_python: Path, shape: str) -> dict[str, Any]:
    """One turn."""
    try:
        found: dict[str, Any] = run_module(
            contestant.module,
            *contestant.arguments,
            "--shape",
            shape,
            threads=THREADS,
            python=str(peer_python) if contestant.peer else sys.executable,
            env={"HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"},
        )
    except ProcessFailed as error:
        raise SystemExit(str(error)) from None
    return found


def write(shape: str, rates: dict[str, float], runs: dict[str, list[dict[str, Any]]]) -> None:
    """Everything that was measured, its medians, and a picture of them."""
    medians = {name: medians_of(found) for name, found in runs.items()}
    table = table_of(medians, shape, turns=len(runs[A2PO]), rates=rates, peers=(A2PO, GRPO))
    print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{shape}.md").write_text(table, encoding="utf-8")
    everything = {"gemm_flops": rates, "turns": runs}
    (RESULTS / f"{shape}.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    draw(medians, shape, RESULTS / f"{shape}.png")


def medians_of(turns: list[dict[str, Any]]) -> dict[str, float | None]:
    """Of every measure; None where a contestant has no such stage."""
    return {
        measure: None if value is None else median(turn[measure] for turn in turns)
        for measure, value in turns[0].items()
    }


if __name__ == "__main__":
    main()
