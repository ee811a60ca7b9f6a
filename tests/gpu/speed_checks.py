"""Seconds and memory of training steps: beside the doctor's plan, and beside TRL's trainers."""

from __future__ import annotations

from collections.abc import Iterator

from gpu.check import Finding

# On a GPU of 24 GB a model of half a billion parameters in bfloat16; elsewhere the logic of the checks.
_SHAPES = {"cuda": ("500m", "bfloat16"), "cpu": ("tiny", "float32")}
_CONTESTANTS = {
    "this project": ("benchmarks.ours", "--rows", "8"),
    "TRL's A2POTrainer": ("benchmarks.peer_trl", "a2po"),
    "TRL's GRPOTrainer, 8 responses per prompt": ("benchmarks.peer_trl", "grpo"),
}


def plan(device: str) -> Iterator[Finding]:
    """What `apo doctor` plans of a training step, and what the step takes."""
    from benchmarks.plan_check import compare

    shape, dtype = _SHAPES[device]
    prompts, rows = (128, 32) if device == "cuda" else (8, 4)
    for number in compare(shape, dtype, "apo", prompts, rows)["compared"]:
        yield Finding(
            what=f"{shape}, {dtype}, {prompts} responses: {number.name}",
            result=f"{number.measured:.3g}, planned {number.planned:.3g}",
            expected=f"within {number.limit:.0%}",
            # A tiny model's steps are mostly Python, and its memory mostly libraries.
            good=number.within if device == "cuda" else None,
        )


def beside_trl(device: str) -> Iterator[Finding]:
    """Both stages on one workload, each contestant in a process of its own."""
    from benchmarks.processes import run_module

    shape, dtype = _SHAPES[device]
    environment = {"HF_HUB_OFFLINE": "1"} | ({"DS_ACCELERATOR": "cpu"} if device == "cpu" else {})
    ours = None
    for name, (module, *arguments) in _CONTESTANTS.items():
        measured = run_module(
            module, *arguments, "--shape", shape, "--dtype", dtype, threads=2, env=environment
        )
        seconds, tokens = measured["stage2_seconds_per_prompt"], measured["stage1_tokens_per_second"]
        ours = ours or seconds
        ratio = "" if seconds == ours else f", {seconds / ours:.3g} times this project's"
        yield Finding(what=f"{name}, {shape}, {dtype}: stage 2", result=f"{seconds:.3g} s per prompt{ratio}")
        if tokens is not None:
            yield Finding(what=f"{name}, {shape}, {dtype}: stage 1", result=f"{tokens:,.0f} tokens/s")
