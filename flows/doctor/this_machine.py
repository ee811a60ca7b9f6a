"""The machine that a plan is for: this one, or another that has GPUs of the table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apo_core.errors import ApoError

if TYPE_CHECKING:
    from apo_core.plan.hardware import Machine

# Of a core, where nothing was measured: what servers reach, between AVX2 and AVX-512.
_CORE_FLOPS = 120e9
_HOST_BANDWIDTH = 20e9


def planned_machine(gpu: str | None, gpus: int | None, measure: bool) -> Machine:
    """The machine that the options of `apo doctor` name.

    Args:
        gpu: a row of the table of GPUs; None for this machine.
        gpus: how many of them; None for one.
        measure: measure this machine's rates instead of looking them up.

    Raises:
        ApoError: the options contradict each other, or the table has no such GPU.
    """
    from apo_core.plan.hardware import machine_of

    if gpu is None and gpus is not None:
        raise ApoError("--gpus: needs --gpu, the kind of GPU that another machine has")
    if gpu is not None and measure:
        raise ApoError("--measure: measures this machine; leave out --gpu")
    return this_machine(measure) if gpu is None else machine_of(gpu, gpus or 1)


def this_machine(measure: bool = False) -> Machine:
    """This host: its memory as it is, its rates measured, or those of the table."""
    import psutil
    import torch

    from apo_core.plan.hardware import with_rates
    from apo_core.plan.measuring import measure_rates

    host = psutil.virtual_memory().total / 2**20
    machine = _with_gpus(host) if torch.cuda.is_available() else _without_gpus(host)
    if measure:
        device = torch.device("cuda" if machine.gpus else "cpu")
        machine = with_rates(machine, measure_rates(device))
    return machine


def _with_gpus(host_mib: float) -> Machine:
    import torch

    from apo_core.plan.hardware import GPUS, gpu_named, machine_of

    name, count = torch.cuda.get_device_name(0), torch.cuda.device_count()
    row = gpu_named(name)
    # A GPU that the table lacks is taken for its slowest one of a data centre; `--measure` knows better.
    machine = machine_of(row or "L40S", count)
    memory = torch.cuda.get_device_properties(0).total_memory / 2**20
    known = "" if row in GPUS else ", rates of an L40S assumed: --measure"
    return replace(machine, name=f"{count} x {name}{known}", device_mib=memory, host_mib=host_mib)


def _without_gpus(host_mib: float) -> Machine:
    import torch

    from apo_core.plan.hardware import Machine, Rates

    cores = torch.get_num_threads()
    rates = Rates(
        float32=cores * _CORE_FLOPS,
        bfloat16=cores * _CORE_FLOPS * (2 if _multiplies_bfloat16() else 0.5),
        bandwidth=_HOST_BANDWIDTH,
    )
    return Machine(
        name=f"{cores} CPU threads", gpus=0, device_mib=host_mib, rates=rates, link=5e9, cores=cores
    )


def _multiplies_bfloat16() -> bool:
    import torch

    from apo_core.model.acceleration import packs_weights

    return packs_weights(torch.bfloat16, "cpu")
