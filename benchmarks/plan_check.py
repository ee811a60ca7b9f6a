"""The doctor's plan beside the machine: seconds and memory of training steps, planned and measured in one go.

    python -m benchmarks.plan_check [--shape 135m] [--dtype float32] [--threads 2]

A*-PO and GRPO, two sizes of batch each, every case in a process of its own. Rates are measured right before
and after every step. With one thread all seconds are the process's own, so that others may use the machine.
Takes minutes; writes `benchmarks/results/plan_check.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from apo_core.algorithms import make_algorithm
from apo_core.plan.hardware import Machine, Rates
from apo_core.plan.hours import plan_hours
from apo_core.plan.items import peak_mib
from apo_core.plan.measuring import Clock, measure_rates
from apo_core.plan.model_shape import model_shape
from apo_core.plan.run_shape import Part
from apo_core.sampling import Response, Sampler, TransformersSampler
from apo_core.sampling.base import Keys
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.training.step import run_step
from benchmarks import ours, workload
from benchmarks.processes import run_module
from benchmarks.rates import combined
from flows.doctor.hours import run_shape
from flows.doctor.memory import training_items
from flows.doctor.this_machine import this_machine
from flows.doctor.workload import Workload
from flows.workspaces import load_preset

RESULTS = Path(__file__).parent / "results"
CASES = (("apo", 4), ("apo", 8), ("grpo", 1), ("grpo", 2))  # algorithm, prompts per step
STEPS = 3  # the first is a warm-up
ROWS = 4  # per micro-batch
_ROUNDS = 3  # of a measurement between steps
TIME_LIMIT, MEMORY_LIMIT = 0.30, 0.25  # how far a plan may be off


class Compared(NamedTuple):
    """A planned number beside the measured one."""

    name: str
    planned: float
    measured: float

    @property
    def error(self) -> float:
        """Of the plan, as a share of what was measured."""
        return self.planned / self.measured - 1

    @property
    def limit(self) -> float:
        """How far the plan may be off."""
        return MEMORY_LIMIT if "MiB" in self.name else TIME_LIMIT

    @property
    def within(self) -> bool:
        """Whether it is no further off."""
        return abs(self.error) <= self.limit


class TimedSampler:
    """A sampler that remembers how long its last call took."""

    def __init__(self, sampler: Sampler, clock: Clock) -> None:
        self.sampler = sampler
        self.clock = clock
        self.seconds = 0.0

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        started = self.clock()
        responses = self.sampler.generate(
            prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
        )
        self.seconds = self.clock() - started
        return responses


def main() -> None:
    """Run every case in a process of its own, or one case in this one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=list(workload.SHAPES), default="135m")
    parser.add_argument("--dtype", choices=list(workload.DTYPES), default="float32")
    parser.add_argument(
        "--threads", type=int, default=workload.THREADS, help="1 where others use the machine"
    )
    parser.add_argument("--case", nargs=2, metavar=("ALGORITHM", "PROMPTS"))
    arguments = parser.parse_args()
    if arguments.case:
        algorithm, prompts = arguments.case
        torch.set_num_threads(arguments.threads)
        print(json.dumps(compare(arguments.shape, arguments.dtype, algorithm, int(prompts))))
        return
    lines = _table(arguments.shape, arguments.dtype, arguments.threads)
    (RESULTS / "plan_check.md").write_text("\n".join([*lines, ""]))


def _table(shape: str, dtype: str, threads: int) -> list[str]:
    lines = [
        "# Plans beside measurements",
        "",
        f"By `python -m benchmarks.plan_check`: {shape}, {dtype}, prompts of {workload.PROMPT_TOKENS} "
        f"tokens, responses of {workload.NEW_TOKENS}, means of {STEPS - 1} steps, {threads} threads. "
        "Rates were measured before and after every step, and are means.",
        "",
        "| case | GFLOP/s, GB/s | number | planned | measured | error |",
        "|---|---|---|---:|---:|---:|",
    ]
    print(*lines, sep="\n", flush=True)
    for algorithm, prompts in CASES:
        case = f"{algorithm}, {prompts} prompts"
        result: dict[str, Any] = run_module(
            "benchmarks.plan_check",
            *("--shape", shape, "--dtype", dtype, "--threads", str(threads)),
            *("--case", algorithm, str(prompts)),
            threads=threads,
            env={"DS_ACCELERATOR": "cpu"},
        )
        rates = f"{result['products'] / 1e9:.0f}, {result['bandwidth'] / 1e9:.1f}"
        for compared in map(Compared._make, result["compared"]):
            verdict = "" if compared.within else f" (limit {compared.limit:.0%})"
            lines.append(
                f"| {case} | {rates} | {compared.name} | {compared.planned:,.2f} | {compared.measured:,.2f} "
                f"| {compared.error:+.0%}{verdict} |"
            )
            print(lines[-1], flush=True)
    return lines


def compare(shape: str, dtype: str, algorithm: str, prompts: int, rows: int = ROWS) -> dict[str, Any]:
    """Train a few steps, in micro-batches of so many rows, and plan them."""
    sampling, update, rates, peak = _measured(shape, dtype, algorithm, prompts, rows)
    machine = replace(this_machine(), rates=rates)
    parts, planned_mib = _planned(shape, dtype, algorithm, prompts, rows, machine)
    planned = {part.name: part.seconds for part in parts}
    planned_sampling = sum(planned[name] for name in ("prompts", "responses"))
    planned_update = sum(planned[name] for name in ("forward and backward", "optimizer"))
    return {
        "products": rates.products(dtype),
        "bandwidth": rates.bandwidth,
        "compared": [
            Compared("s to sample", planned_sampling, sampling),
            Compared("s to learn", planned_update, update),
            Compared("s per step", planned_sampling + planned_update, sampling + update),
            Compared("peak MiB", planned_mib, peak),
        ],
    }


def _measured(
    shape: str, dtype: str, algorithm: str, prompts: int, rows: int
) -> tuple[float, float, Rates, float]:
    """Seconds to sample and to learn, means over steps; the rates meanwhile, and the peak memory."""
    setting = ours.Setting(shape, dtype, rows, False, None)
    context = ours.training_context(setting, [[0.0, 1.0]] * workload.PROMPTS)
    chosen = make_algorithm(**_params(dtype, algorithm, prompts, rows).algorithm.model_dump())
    model = context.engine.module.model
    responses = prompts * chosen.responses
    sampler = TransformersSampler(model, eos_ids={-1}, pad_id=0, batch_size=responses)
    timed = TimedSampler(InPlaceSampler(context.engine, sampler), _clock())
    context = replace(context, algorithm=chosen, sampler=timed)
    indices = [number % workload.PROMPTS for number in range(prompts)]
    run_step(context, 0, indices)  # a warm-up
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sampling, whole = [], []
    rates = [measure_rates(device, rounds=_ROUNDS, clock=timed.clock)]
    for step in range(1, STEPS):
        started = timed.clock()
        run_step(context, step, indices)
        whole.append(timed.clock() - started)
        sampling.append(timed.seconds)
        rates.append(measure_rates(device, rounds=_ROUNDS, clock=timed.clock))
    return fmean(sampling), fmean(whole) - fmean(sampling), combined(rates, fmean), _peak_mib()


def _peak_mib() -> float:
    """What the plan is of: the GPU's memory, with its context, or the process's."""
    if not torch.cuda.is_available():
        return workload.peak_rss_mib()
    free, total = torch.cuda.mem_get_info()
    beside = total - free - torch.cuda.memory_reserved()
    return float(torch.cuda.max_memory_reserved() + beside) / 2**20


def _planned(
    shape: str, dtype: str, algorithm: str, prompts: int, rows: int, machine: Machine
) -> tuple[list[Part], float]:
    """The parts of one step, and the peak memory."""
    params = _params(dtype, algorithm, prompts, rows)
    config = workload.random_config(shape)
    model = model_shape(config)
    amount = Workload(
        train_prompts=prompts,
        kept_prompts=prompts,
        eval_prompts=1,
        responses_per_prompt=1,
        prompt_tokens=workload.PROMPT_TOKENS,
        response_tokens=workload.NEW_TOKENS,
        source="",
    )
    parts = plan_hours(run_shape(params, config, model, amount, machine), machine)
    train = [part for part in parts if part.stage == "train" and part.name not in ("start", "checkpoints")]
    return train, peak_mib(training_items(params, config, model, machine))


def _params(dtype: str, algorithm: str, prompts: int, rows: int) -> Any:
    """A configuration of the same steps; one of them is planned."""
    return load_preset(
        "embedded",
        [
            f"algorithm={algorithm}",
            f"generation.max_new_tokens={workload.NEW_TOKENS}",
            f"template.max_prompt_tokens={workload.PROMPT_TOKENS}",
            "train.steps=1",
            f"train.batch_size={prompts}",
            f"train.micro_batch_tokens={rows * (workload.PROMPT_TOKENS + workload.NEW_TOKENS)}",
            f"train.dtype={dtype}",
        ],
    )


def _clock() -> Clock:
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


if __name__ == "__main__":
    main()
