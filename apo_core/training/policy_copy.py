"""The policy's weights for others: gathered from ZeRO-3's ranks bucket by bucket, and in a lagging copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from apo_core.model.log_probs import ResponseLogProbs

BUCKET_BYTES = 2**28  # of weights that are whole, or on their way, at once


@contextmanager
def gathered(engine: Any) -> Iterator[None]:
    """Hold all of the policy's weights on every rank inside the block, which must not change them.

    Below ZeRO stage 3 every rank holds them anyway.

    DeepSpeed's hooks are taken off meanwhile: they would spread a layer's weights again after its first use,
    and would have every rank take part in each token that another samples.
    """
    if engine.zero_optimization_stage() < 3:
        yield
        return
    offload = engine.optimizer.parameter_offload
    with _gathered(engine, engine.module.model.parameters()):
        for hook in [*offload.forward_hooks, *offload.backward_hooks]:
            hook.remove()
        offload.forward_hooks, offload.backward_hooks = [], []
        try:
            yield
        finally:
            offload._register_deepspeed_module(offload.module)


def _gathered(engine: Any, parameters: Iterable[Tensor]) -> AbstractContextManager[None]:
    """Hold these parameters whole; every rank at the same time."""
    if engine.zero_optimization_stage() < 3:
        return nullcontext()
    import deepspeed

    context: AbstractContextManager[None] = deepspeed.zero.GatheredParameters(list(parameters))
    return context


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A weight to be handed over, by the name that it has in a plain model."""

    name: str
    sources: tuple[Tensor, ...]  # it is computed from; the first is of its shape
    compute: Callable[[], Tensor]  # while the sources are whole

    @property
    def shape(self) -> torch.Size:
        """Its shape; under ZeRO-3 a parameter's own is that of nothing."""
        shape: torch.Size = getattr(self.sources[0], "ds_shape", self.sources[0].shape)
        return shape

    @property
    def dtype(self) -> torch.dtype:
        """Its precision."""
        return self.sources[0].dtype

    @property
    def bytes(self) -> int:
        """Its size."""
        size: int = math.prod(self.shape) * self.dtype.itemsize
        return size


def base_weights(policy: Any) -> list[Weight]:
    """All weights but adapters and what they add, tied ones once."""
    state = policy.state_dict().keys()  # its buffers are those that a directory holds
    buffers = ((name, buffer) for name, buffer in policy.named_buffers() if name in state)
    return [
        _as_it_is(name.replace(".base_layer.", "."), tensor)
        for name, tensor in [*policy.named_parameters(), *buffers]
        if ".lora_" not in name
    ]


def merged_weights(policy: Any) -> list[Weight]:
    """All weights, each with what its adapter adds, tied ones once."""
    adapted = adapted_modules(policy)
    return [
        _merged(weight, adapted[module])
        if (module := weight.name.removesuffix(".weight")) in adapted and weight.name.endswith(".weight")
        else weight
        for weight in base_weights(policy)
    ]


def adapter_weights(policy: Any) -> list[Weight]:
    """The adapters' weights by the names that peft saves them under, without its prefix."""
    (adapter,) = {name for module in adapted_modules(policy).values() for name in module.active_adapters}
    return [
        _as_it_is(name.replace(f".{adapter}.", "."), tensor)
        for name, tensor in policy.named_parameters()
        if ".lora_" in name
    ]


def adapted_modules(policy: Any) -> dict[str, Any]:
    """Layers of peft's that have adapters, by their names."""
    return {name: module for name, module in policy.named_modules() if hasattr(module, "get_delta_weight")}


def _as_it_is(name: str, tensor: Tensor) -> Weight:
    return Weight(name=name, sources=(tensor,), compute=tensor.detach)


def _merged(weight: Weight, module: Any) -> Weight:
    (adapter,) = module.active_adapters
    halves = (module.lora_A[adapter].weight, module.lora_B[adapter].weight)
    return Weight(
        name=weight.name,
        sources=weight.sources + halves,
        compute=partial(_with_delta, weight.sources[0], module, adapter),
    )


@torch.no_grad()
def _with_delta(base: Tensor, module: Any, adapter: str) -> Tensor:
    total: Tensor = base.float() + module.get_delta_weight(adapter).float()
    return total.to(base.dtype)


def in_buckets(weights: Sequence[Weight], limit: int) -> list[list[Weight]]:
    """Divide weights, in their order, into buckets of at most `limit` bytes, or of one larger weight.

    A bucket has one dtype, so that all its weights are aligned where they lie one after the other.
    """
    buckets: list[list[Weight]] = []
    used = 0
    for weight in sorted(weights, key=lambda weight: str(weight.dtype)):
        if not buckets or used + weight.bytes > limit or buckets[-1][0].dtype != weight.dtype:
            buckets.append([])
            used = 0
        buckets[-1].append(weight)
        used += weight.bytes
    return buckets


def computed(
    engine: Any, weights: Sequence[Weight], limit: int = BUCKET_BYTES
) -> Iterator[list[tuple[Weight, Tensor]]]:
    """Compute weights bucket by bucket; under ZeRO-3 no others are whole, and all ranks do so together.

    A bucket's tensors may be the policy's own, and hold only until the next one is asked for.
    """
    for bucket in in_buckets(weights, limit):
        with _gathered(engine, (source for weight in bucket for source in weight.sources)):
            yield [(weight, weight.compute()) for weight in bucket]


class LaggingCopy:
    """The policy as it was when it was last copied, whole on every rank and without adapters.

    It samples, and takes the reference policy's place.
    """

    def __init__(self, engine: Any, model: PreTrainedModel, *, temperature: float) -> None:
        """Begin with what `model` holds.

        Args:
            engine: DeepSpeed's, over the policy.
            model: of the policy's architecture, to be overwritten.
            temperature: of the log-probs.
        """
        self.engine = engine
        self.model = model.requires_grad_(False)
        self.log_probs = ResponseLogProbs(model, temperature=temperature)

    def __call__(self, token_ids: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """See `ResponseLogProbs`."""
        log_probs: Tensor = self.log_probs(token_ids, attended, mask)
        return log_probs

    @torch.no_grad()
    def synchronise(self) -> None:
        """Copy the policy's weights; every rank at the same time."""
        own = self.model.state_dict()
        for bucket in computed(self.engine, merged_weights(self.engine.module.model)):
            for weight, tensor in bucket:
                if weight.name not in own:
                    raise RuntimeError(f"the lagging copy is of another architecture: no {weight.name}")
                own[weight.name].copy_(tensor)
