"""Compares our speed and memory with those of TRL's A2POTrainer and GRPOTrainer: `make bench`.

    python -m benchmarks.compare --peer-python PYTHON [--shape tiny|135m] [--repeats N]

Every contestant (`contestants.py`) runs in a process of its own with two threads, one process at a time. All
take turns several times; the table compares the medians. Contestants in bfloat16 take part if the processor
multiplies matrices faster in bfloat16 than in float32, contestants with vLLM if vLLM is installed. Writes
`benchmarks/results/SHAPE.{md,json,png}`.
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
from benchmarks.report import plot, table_of
from benchmarks.workload import SHAPES, THREADS

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main() -> None:
    """Measure all contestants in turn, and write table, picture and measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter that has TRL")
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="of the model; default: all")
    parser.add_argument("--repeats", type=int, default=3, help="turns per contestant")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    rates = {dtype: gemm_rate(dtype) for dtype in ("float32", "bfloat16")}
    contestants = runnable_contestants(rates)
    for shape in arguments.shape or SHAPES:
        runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
        for turn in range(arguments.repeats):
            for contestant in contestants:
                measurement = measure(contestant, arguments.peer_python, shape)
                runs[contestant.name].append(measurement)
                print(
                    f"{shape}, turn {turn + 1} of {arguments.repeats}: {contestant.name}: {measurement}",
                    flush=True,
                )
        write(shape, rates, runs)


def runnable_contestants(rates: dict[str, float]) -> list[Contestant]:
    """Contestants whose precision and engine suit this machine."""
    bfloat16_is_faster = rates["bfloat16"] > rates["float32"]
    has_vllm = find_spec("vllm") is not None
    return [
        contestant
        for contestant in CONTESTANTS
        if (bfloat16_is_faster or not contestant.bfloat16) and (has_vllm or not contestant.vllm)
    ]


def measure(contestant: Contestant, peer_python: Path, shape: str) -> dict[str, Any]:
    """Measure one contestant once."""
    try:
        measurement: dict[str, Any] = run_module(
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
    return measurement


def write(shape: str, rates: dict[str, float], runs: dict[str, list[dict[str, Any]]]) -> None:
    """Write all measurements (JSON), their medians (Markdown), and a picture of the medians."""
    medians = {name: medians_of(turns) for name, turns in runs.items()}
    table = table_of(medians, shape, turns=len(runs[A2PO]), rates=rates, peers=(A2PO, GRPO))
    print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{shape}.md").write_text(table, encoding="utf-8")
    everything = {"gemm_flops": rates, "turns": runs}
    (RESULTS / f"{shape}.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    plot(medians, shape, RESULTS / f"{shape}.png")


def medians_of(turns: list[dict[str, Any]]) -> dict[str, float | None]:
    """Median of every measure over the turns; None for a measure that the contestant lacks."""
    return {
        measure: None if value is None else median(turn[measure] for turn in turns)
        for measure, value in turns[0].items()
    }


if __name__ == "__main__":
    main()
