"""Several measurements of a machine's rates as one."""

from __future__ import annotations

from collections.abc import Callable

from apo_core.plan.hardware import Rates


def combined(rates: list[Rates], by: Callable[[list[float]], float]) -> Rates:
    """Every rate over all measurements, by their mean or median."""
    return Rates(
        float32=by([each.float32 for each in rates]),
        bfloat16=by([each.bfloat16 for each in rates]),
        bandwidth=by([each.bandwidth for each in rates]),
    )
