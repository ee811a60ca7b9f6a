"""A policy that ZeRO-3 has spread over the ranks, whole for as long as it is sampled or saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def gathered(engine: Any) -> Iterator[None]:
    """Every rank holds all of the policy's weights inside the block, which must not change them.

    Below stage 3 it always does.

    DeepSpeed's hooks are taken off meanwhile: they would spread a layer's weights again after its first use,
    and would have every rank take part in each token that another draws.
    """
    if engine.zero_optimization_stage() < 3:
        yield
        return
    import deepspeed

    offload = engine.optimizer.parameter_offload
    with deepspeed.zero.GatheredParameters(list(engine.module.model.parameters())):
        for hook in [*offload.forward_hooks, *offload.backward_hooks]:
            hook.remove()
        offload.forward_hooks, offload.backward_hooks = [], []
        try:
            yield
        finally:
            offload._register_deepspeed_module(offload.module)
