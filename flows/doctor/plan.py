"""The plan of a configuration on a machine: what every stage takes, and how long."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from apo_core.config import Params
from apo_core.errors import ApoError
from flows.doctor.hours import run_shape
from flows.doctor.inputs import Finding
from flows.doctor.memory import (
    StageMemory,
    engine_of,
    gpus_per_worker,
    memory_plan,
    planned_model,
)
from flows.doctor.workload import Workload, workload_of
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from apo_core.plan.hardware import Machine
    from apo_core.plan.run_shape import Part, RunShape

# Of a device's memory: what an allocator keeps in pieces that nothing fits into, and what a plan misses.
ROOM_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will take, compared with what a machine has."""

    findings: list[Finding]
    machine: Machine
    memory: list[StageMemory]
    run: RunShape
    parts: list[Part]  # of the hours

    @property
    def hours(self) -> float:
        """Of the whole run."""
        return sum(part.seconds for part in self.parts) / 3600

    @property
    def step_seconds(self) -> float:
        """Of one step of training."""
        from apo_core.plan.hours import step_seconds

        return step_seconds(self.parts, self.run.steps)


def make_plan(
    workspace: Workspace,
    params: Params,
    machine: Machine,
    *,
    workload: Workload | None = None,
    look_at_disk: bool = True,
) -> Plan:
    """Plan memory and hours.

    Args:
        workspace: whose tables say how much there is to do, as far as there are any.
        params: the configuration.
        machine: that it runs on.
        workload: in place of what the workspace says.
        look_at_disk: hold checkpoints against the disk of this machine.

    Raises:
        ApoError: the model's configuration is not to be had, or its architecture cannot be trained here.
    """
    from apo_core.plan.hours import plan_hours

    config, model = planned_model(workspace, params)
    memory = memory_plan(params, config, model, machine)
    workload = workload or workload_of(workspace, params)
    run = run_shape(params, config, model, workload, machine)
    parts = plan_hours(run, machine)
    findings = [_memory(params, memory, run, machine), *_host(memory, machine)]
    if look_at_disk:
        findings.append(_disk(workspace, params, memory))
    plan = Plan(findings=findings, machine=machine, memory=memory, run=run, parts=parts)
    findings.append(_hours(plan, workload))
    return plan


def examine_plan(
    workspace: Workspace, params: Params, machine: Machine, *, response_tokens: int | None, look_at_disk: bool
) -> tuple[list[Finding], Plan | None]:
    """Findings of the plan; there is no plan where there is no model."""
    try:
        workload = workload_of(workspace, params, response_tokens)
        plan = make_plan(workspace, params, machine, workload=workload, look_at_disk=look_at_disk)
    except ApoError as error:
        return [Finding("plan", False, str(error))], None
    return plan.findings, plan


def _memory(params: Params, memory: list[StageMemory], run: RunShape, machine: Machine) -> Finding:
    """Every stage's peak against its share of the device, and what vLLM's cache holds."""
    from apo_core.plan.items import peak_mib

    problem = _few_gpus(params, run, machine) or _small_cache(params, run, machine)
    if problem is not None:
        return Finding("plan: memory", False, problem)
    texts, good = [], True
    for stage in memory:
        available = machine.device_mib / (1 if machine.gpus else stage.processes)
        peak = peak_mib(stage.items)
        fits = peak <= (1 - ROOM_SHARE) * available
        texts.append(f"{stage.stage} {peak / 1024:.1f}{'' if fits else f' of {available / 1024:.1f}'}")
        good = good and fits
    size = f"{machine.device_mib / 1024:.1f} GiB {'per GPU' if machine.gpus else 'in all'}"
    detail = f"in GiB per process: {', '.join(texts)}; {machine.name}, {size}, {ROOM_SHARE:.0%} is left free"
    if not good:
        detail += " (to need less: train.micro_batch_tokens, train.ranks, train.zero_stage, train.lora)"
    return Finding("plan: memory", good, detail)


def _few_gpus(params: Params, run: RunShape, machine: Machine) -> str | None:
    """What stages would refuse: every rank needs a GPU, and every worker that has a shard its own."""
    if not machine.gpus:
        return None
    if params.train.ranks > machine.gpus and params.train.hostfile is None:
        return f"train.ranks is {params.train.ranks}, and there are {machine.gpus} GPUs"
    if params.sampling.executor != "local":
        return None
    each = gpus_per_worker(params)
    if each > machine.gpus:
        return f"sampler.vllm.tensor_parallel_size is {each}, and there are {machine.gpus} GPUs"
    needed = min(run.workers, ceil(run.prompts / run.shard_prompts)) * each
    if needed > machine.gpus:
        return f"sampling.workers: they need {needed} GPUs, and there are {machine.gpus}"
    return None


def _small_cache(params: Params, run: RunShape, machine: Machine) -> str | None:
    """A key-value cache that cannot hold the longest response."""
    from apo_core.plan.engine_memory import cached_rows

    longest = params.template.max_prompt_tokens + params.generation.max_new_tokens
    in_training = params.sampler.vllm_in_training(params.train.sampler.vllm_override)
    engines = [
        ("sampler.vllm", run.sampler.vllm, params.sampler.vllm, params.sampling.dtype),
        ("train.sampler.vllm_override", run.train_sampler.vllm, in_training, params.train.dtype),
    ]
    for key, used, options, dtype in engines:
        gpus = options.tensor_parallel_size if machine.gpus else 1
        engine = engine_of(options, run.model, dtype, machine)
        if used and cached_rows(run.model, dtype, engine, longest, gpus) < 1:
            return (
                f"{key}: vLLM gets {engine.device_mib / 1024:.1f} GiB, in which its key-value cache does not "
                f"hold one response of {longest} tokens with its prompt: gpu_memory_utilization, "
                "tensor_parallel_size"
            )
    return None


def _host(memory: list[StageMemory], machine: Machine) -> list[Finding]:
    """What processes on GPUs take of the host."""
    from apo_core.plan.items import peak_mib

    needed, size = max(peak_mib(stage.items, "host") for stage in memory), machine.host_mib
    if needed == 0:
        return []
    good = size is None or needed <= size
    of = "" if size is None else f", of {size / 1024:.1f}"
    return [Finding("plan: host", good, f"the host's memory: about {needed / 1024:.1f} GiB{of}")]


def _disk(workspace: Workspace, params: Params, memory: list[StageMemory]) -> Finding:
    """Checkpoints and their reserve against the disk; those of a run before are replaced."""
    disk = sum(item.mib for stage in memory for item in stage.items if item.memory == "disk")
    disk += params.train.checkpoint.min_free_mib
    checkpoints = workspace.work("train") / "checkpoints"
    taken = sum(file.stat().st_size for file in checkpoints.rglob("*") if file.is_file())
    free = (shutil.disk_usage(workspace.root).free + taken) / 2**20
    space = f"checkpoints and their reserve need {disk / 1024:.1f} GiB, of {free / 1024:.1f} free"
    if disk > free:
        space += " (to need less: train.checkpoint.keep, train.checkpoint.min_free_mib)"
    return Finding("plan: disk", disk <= free, space)


def _hours(plan: Plan, workload: Workload) -> Finding:
    run = plan.run
    tokens = run.prompts * run.n * run.response_tokens
    tokens += run.steps * run.batch_size * run.responses * run.response_tokens
    duration = f"{plan.hours:.1f}" if plan.hours >= 1 else f"{plan.hours:.2f}, {60 * plan.hours:.0f} minutes,"
    detail = (
        f"about {duration} on {plan.machine.name}: {run.steps:,} steps of {plan.step_seconds:.1f} s, "
        f"{tokens / 1e6:,.3g} M tokens sampled for training ({workload.source})"
    )
    return Finding("plan: hours", True, detail)
