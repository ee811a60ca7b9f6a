"""Compares our speed and memory with those of TRL's A2POTrainer and GRPOTrainer: `make bench`.

    python -m benchmarks.compare --peer-python PYTHON [--shape tiny|135m] [--repeats N]

Every contestant (`contestants.py`) runs in a process of its own with two threads, one process at a time. All
take turns several times; the table compares the medians. Contestants in bfloat16 take part if the processor
multiplies matrices faster in bfloat16 than in float32, contestants with vLLM if vLLM is installed. The
machine's rates are measured between them, so that the table can say how far each is from the floor
(`floor.py`) and, below, in which phase ours loses time. Writes `benchmarks/results/SHAPE.{md,json,png}`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from apo_core.model.loading import device
from apo_core.plan.hardware import Rates
from apo_core.plan.measuring import measure_rates
from apo_core.plan.model_shape import model_shape
from benchmarks.contestants import A2PO, CONTESTANTS, GRPO, Contestant
from benchmarks.phases import Phase
from benchmarks.processes import ProcessFailed, run_module
from benchmarks.rates import combined
from benchmarks.report import phases_of, plot, table_of
from benchmarks.workload import ON_CPU, SHAPES, THREADS, random_config

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main() -> None:
    """Measure all contestants in turn, and write table, picture and measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", type=Path, required=True, help="interpreter that has TRL")
    parser.add_argument(
        "--shape", choices=list(SHAPES), action="append", help="of the model; default: those of results"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns per contestant")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    for shape in arguments.shape or ON_CPU:
        compare(shape, arguments.peer_python, arguments.repeats)


def compare(shape: str, peer_python: Path, repeats: int) -> None:
    """Let all contestants take turns on one shape, and write what came out."""
    rates = [measure_rates(device())]
    contestants = runnable_contestants(rates[0])
    runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
    for turn in range(repeats):
        for contestant in contestants:
            measurement = measure(contestant, peer_python, shape)
            runs[contestant.name].append(measurement)
            rates.append(measure_rates(device()))
            print(f"{shape}, turn {turn + 1} of {repeats}: {contestant.name}: {measurement}", flush=True)
    medians = combined(rates, median)
    write(shape, contestants, runs, medians, {})
    dtypes = sorted({contestant.dtype for contestant in contestants}, reverse=True)
    write(shape, contestants, runs, medians, {dtype: phases(shape, dtype) for dtype in dtypes})


def runnable_contestants(rates: Rates) -> list[Contestant]:
    """Contestants whose precision and engine suit this machine."""
    bfloat16_is_faster = rates.bfloat16 > rates.float32
    has_vllm = find_spec("vllm") is not None
    return [
        contestant
        for contestant in CONTESTANTS
        if (bfloat16_is_faster or not contestant.bfloat16) and (has_vllm or not contestant.vllm)
    ]


def phases(shape: str, dtype: str) -> list[Phase]:
    """Phases of ours, in a process of their own."""
    arguments = ("--shape", shape, "--dtype", dtype, "--json")
    try:
        rows = run_module("benchmarks.phases", *arguments, threads=THREADS, env={"DS_ACCELERATOR": "cpu"})
    except ProcessFailed as error:
        raise SystemExit(str(error)) from None
    return [Phase(*row) for row in rows]


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


def write(
    shape: str,
    contestants: list[Contestant],
    runs: dict[str, list[dict[str, Any]]],
    rates: Rates,
    phases: dict[str, list[Phase]],
) -> None:
    """Write all measurements (JSON), their medians (Markdown), and a picture of the medians."""
    medians = {name: medians_of(turns) for name, turns in runs.items()}
    model = model_shape(random_config(shape))
    floors = {
        contestant.name: {
            "stage1_tokens_per_second": contestant.floor_tokens_per_second(model, rates),
            "stage2_seconds_per_prompt": contestant.floor_seconds_per_prompt(model, rates),
        }
        for contestant in contestants
    }
    table = table_of(medians, floors, shape, turns=len(runs[A2PO]), rates=rates, peers=(A2PO, GRPO))
    table += "".join(phases_of(dtype, rows) for dtype, rows in phases.items())
    if phases:
        print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{shape}.md").write_text(table, encoding="utf-8")
    everything = {"rates": asdict(rates), "floors": floors, "turns": runs, "phases": phases}
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
