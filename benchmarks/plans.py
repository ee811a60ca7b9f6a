"""Plans of the published settings on GPUs: memory, hours, and where the time goes.

    python -m benchmarks.plans

Writes `benchmarks/results/plans.md`: the six presets on one and four A100, H100 and H200, and line by line
the run that is compared with the published 11.0 hours. Nothing is measured and no GPU is needed: it is what
`apo doctor --params FILE --gpu GPU --gpus N` prints.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

from apo_core.plan.hardware import machine_of
from apo_core.plan.items import peak_mib
from flows.doctor.plan import ROOM_SHARE, Plan, make_plan
from flows.doctor.workload import Workload
from flows.workspaces import load_preset
from tasks.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
SIZES, TASKS = ("1.5b", "3b", "7b"), ("gsm8k", "math")
GPUS, COUNTS = ("A100-80", "H100-80", "H200"), (1, 4)
# Prompts to train and to evaluate on, and mean lengths in tokens of prompts and responses. Lengths are
# assumptions; a finished stage 1 says the true ones (`data/samples.parquet`).
WORKLOADS = {"gsm8k": (7_473, 1_319, 100.0, 300.0), "math": (7_500, 5_000, 100.0, 512.0)}
SHOWN = ("7b", "math", "H100-80", 4)
# What part of a run each column is.
COLUMNS = {
    "stage 1": [("sample", "prompts"), ("sample", "responses"), ("sample", "scoring beyond it")],
    "rollouts": [("train", "prompts"), ("train", "responses"), ("train", "weights to vLLM")],
    "scoring": [("train", "scoring")],
    "forward, backward": [("train", "forward and backward")],
    "optimizer, ranks": [("train", "optimizer"), ("train", "between ranks")],
    "checkpoints": [("train", "checkpoints")],
    "evaluation": [("evaluate", "responses"), ("evaluate", "KL")],
    "starts": [("sample", "start"), ("train", "start"), ("evaluate", "start")],
}


def main() -> None:
    """Write the plans."""
    text = "\n".join([*_head(), *_table(), "", *_reasoning(_plan(*SHOWN)), ""])
    (RESULTS / "plans.md").write_text(text)
    print(text)


def assignments_on(gpus: int) -> list[str]:
    """What is set beside the preset: every GPU samples with vLLM, trains and evaluates."""
    return [
        "sampler.engine=vllm",
        "train.sampler.engine=vllm",
        f"sampling.workers={gpus}",
        f"train.ranks={gpus}",
    ]


def _plan(size: str, task: str, gpu: str, gpus: int) -> Plan:
    prompts, eval_prompts, prompt_tokens, response_tokens = WORKLOADS[task]
    params = load_preset(f"qwen2.5-{size}-{task}", assignments_on(gpus))
    workload = Workload(
        train_prompts=prompts,
        kept_prompts=prompts,
        eval_prompts=eval_prompts,
        responses_per_prompt=params.sampling.n,
        prompt_tokens=prompt_tokens,
        response_tokens=response_tokens,
        source="as published",
    )
    with tempfile.TemporaryDirectory() as empty:
        workspace = Workspace(Path(empty))
        return make_plan(workspace, params, machine_of(gpu, gpus), workload=workload, look_at_disk=False)


def _head() -> list[str]:
    assignments = " ".join(assignments_on(4)).replace("=4", "=N")
    return [
        "# Plans of the published settings",
        "",
        f"By `python -m benchmarks.plans`; nothing here was measured. Each preset with `{assignments}` on N "
        "GPUs. All training prompts are kept. Mean responses are assumed: "
        f"{WORKLOADS['gsm8k'][3]:.0f} tokens on GSM8K, {WORKLOADS['math'][3]:.0f} on MATH, of at most 1,024. "
        f"Memory is the peak of a GPU, in GiB, of which {ROOM_SHARE:.0%} is to be left free; where it does "
        "not fit, there are no hours.",
        "",
    ]


def _table() -> list[str]:
    names = ["preset", "machine", "sample", "train", "evaluate", "s per step", "hours", *COLUMNS]
    rows = [_row(*case) for case in product(SIZES, TASKS, COUNTS, GPUS)]
    return [_line(names), _line(["---"] * 2 + ["---:"] * (len(names) - 2)), *map(_line, rows)]


def _row(size: str, task: str, gpus: int, gpu: str) -> list[str]:
    plan = _plan(size, task, gpu, gpus)
    peaks = {stage.stage: peak_mib(stage.items) for stage in plan.memory}
    limit = (1 - ROOM_SHARE) * plan.machine.device_mib
    evaluation = max(peaks["evaluate"], peaks["evaluate, KL"])
    memory = [_gib(peaks["sample"]), _gib(peaks["train"]), _gib(evaluation)]
    fits = max(peaks.values()) <= limit
    name = [f"qwen2.5-{size}-{task}", f"{gpus} x {gpu}"]
    if not fits:
        return [*name, *memory, "", "does not fit", *[""] * len(COLUMNS)]
    return [*name, *memory, f"{plan.step_seconds:.1f}", f"{plan.hours:.1f}", *_shares(plan)]


def _shares(plan: Plan) -> list[str]:
    seconds = {(part.stage, part.name): part.seconds for part in plan.parts}
    whole = sum(seconds.values())
    return [f"{sum(seconds.get(key, 0.0) for key in keys) / whole:.0%}" for keys in COLUMNS.values()]


def _reasoning(plan: Plan) -> list[str]:
    """Line by line."""
    rates, whole = plan.machine.rates, sum(part.seconds for part in plan.parts)
    lines = [
        f"## qwen2.5-{SHOWN[0]}-{SHOWN[1]} on {plan.machine.name}, line by line",
        "",
        f"{plan.hours:.1f} hours, {plan.step_seconds:.1f} s per step; published: 11.0 hours on four GPUs. "
        f"Large products reach {rates.bfloat16 / 1e12:.0f} TFLOP/s in bfloat16, large reads "
        f"{rates.bandwidth / 1e12:.2f} TB/s, links {plan.machine.link / 1e9:.0f} GB/s.",
        "",
        _line(["stage", "part", "minutes", "share", "why"]),
        _line(["---", "---", "---:", "---:", "---"]),
    ]
    for part in plan.parts:
        minutes, share = f"{part.seconds / 60:.1f}", f"{part.seconds / whole:.1%}"
        lines.append(_line([part.stage, part.name, minutes, share, part.reason]))
    lines += ["", "| memory of a GPU in stage train | GiB | held |", "|---|---:|---|"]
    train = next(stage for stage in plan.memory if stage.stage == "train")
    items = [item for item in train.items if item.memory == "device" and item.mib]
    return lines + [_line([item.name, _gib(item.mib), item.phase]) for item in items]


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
