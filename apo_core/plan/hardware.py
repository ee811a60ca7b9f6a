"""Machines: what their devices hold, multiply and move, by the vendor's data sheet or as measured.

Dense rates (data sheets also give rates with sparsity, which are twice as high):
- A100: NVIDIA A100 80GB data sheet, 2021: 1,555 GB/s with 40 GB, 2,039 with 80 (SXM). NVLink 600 both ways.
- H100 SXM: NVIDIA H100 data sheet, 2024; the white paper has 989.4 and 494.7. NVLink 900 GB/s both ways.
- H200 SXM: NVIDIA H200 data sheet, 2024: H100's arithmetic, 4.8 TB/s.
- L40S: NVIDIA L40S data sheet, 2023: bfloat16 362.05, TF32 183; PCIe 4.0 x16, 64 GB/s both ways.
- 4090: NVIDIA Ada GPU architecture white paper, appendix A: bfloat16 with float32 sums 165.2; PCIe 4.0 x16.
Memory is what CUDA reports of such a card, which is less than its name says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from apo_core.errors import ApoError

# A large product of matrices reaches 70 to 80% of a data sheet's rate: clocks fall under full load.
PRODUCTS_SHARE = 0.70
# Reading large tensors reaches 80 to 92% of a data sheet's bandwidth.
BANDWIDTH_SHARE = 0.85
_CORES = 12  # beside each GPU: hosts of eight have 96 and more
LINK_SHARE = 0.70  # what NCCL's rings move, of one direction of a link


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What large operations reach on one device."""

    float32: float  # floating point operations per second of a large product
    bfloat16: float
    bandwidth: float  # bytes per second read from the device's memory

    def products(self, dtype: str) -> float:
        """Floating point operations per second in a precision."""
        return self.bfloat16 if dtype == "bfloat16" else self.float32

    def each(self, change: Callable[[float], float]) -> Rates:
        """All rates, changed alike."""
        return Rates(
            float32=change(self.float32), bfloat16=change(self.bfloat16), bandwidth=change(self.bandwidth)
        )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A host and its devices, all alike. Unknown sizes are None, and nothing is compared with them."""

    name: str
    gpus: int  # 0: models compute on the host's cores
    device_mib: float  # of each GPU, or of the host
    rates: Rates
    link: float = 25e9  # bytes per second in one direction between devices, as reached
    disk: float = 1e9  # bytes per second written and read: a single NVMe drive under several writers
    host_mib: float | None = None
    cores: int = 16

    def rates_of(self, processes: int) -> Rates:
        """What each of so many processes reaches: GPUs are theirs alone, cores are shared."""
        return self.rates if self.gpus else self.rates.each(lambda rate: rate / processes)


@dataclass(frozen=True)
class Gpu:
    """A row of the data sheets, in their units."""

    gib: float
    bfloat16: float  # TFLOP/s, dense
    float32: float  # TFLOP/s outside the tensor cores, in which torch computes unless TF32 is allowed
    tf32: float  # TFLOP/s, dense
    bandwidth: float  # GB/s
    link: float  # GB/s in one direction


GPUS = {
    "A100-40": Gpu(39.4, 312, 19.5, 156, 1555, 300),
    "A100-80": Gpu(79.1, 312, 19.5, 156, 2039, 300),
    "H100-80": Gpu(79.1, 989.4, 66.9, 494.7, 3350, 450),
    "H200": Gpu(139.8, 989.4, 66.9, 494.7, 4800, 450),
    "L40S": Gpu(44.4, 362.05, 91.6, 183, 864, 32),
    "4090": Gpu(23.5, 165.2, 82.6, 82.6, 1008, 32),
}


def machine_of(gpu: str, count: int) -> Machine:
    """A machine with GPUs of the table, by what large operations reach of the data sheet's rates.

    Raises:
        ApoError: the table has no such GPU.
    """
    if gpu not in GPUS:
        raise ApoError(f"unknown GPU {gpu!r}; known are {', '.join(GPUS)}")
    row = GPUS[gpu]
    rates = Rates(
        float32=row.float32 * 1e12 * PRODUCTS_SHARE,
        bfloat16=row.bfloat16 * 1e12 * PRODUCTS_SHARE,
        bandwidth=row.bandwidth * 1e9 * BANDWIDTH_SHARE,
    )
    return Machine(
        name=f"{count} x {gpu}",
        gpus=count,
        device_mib=row.gib * 1024,
        rates=rates,
        link=row.link * 1e9 * LINK_SHARE,
        cores=_CORES * count,
    )


def gpu_named(name: str) -> str | None:
    """The table's row for the name that a driver gives a GPU ("NVIDIA H100 80GB HBM3"), if it has one."""
    for row in GPUS:
        model, _, gigabytes = row.partition("-")
        if model in name and (not gigabytes or f"{gigabytes}GB" in name):
            return row
    return None


def with_rates(machine: Machine, rates: Rates) -> Machine:
    """The same machine, measured."""
    return replace(machine, rates=rates, name=f"{machine.name}, measured")
