"""The policy's weights as a whole: gathered from ZeRO-3's ranks, copied, and kept in a lagging copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from apo_core.model.log_probs import ResponseLogProbs


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


@torch.no_grad()
def whole_weights(policy: Any) -> dict[str, Tensor]:
    """Copies of all weights by their names in a plain model, adapters added to theirs, tied ones once."""
    adapted = {name: module for name, module in policy.named_modules() if hasattr(module, "get_delta_weight")}
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in policy.state_dict().items():
        if ".lora_" in name or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        module = adapted.get(name.removesuffix(".base_layer.weight"))
        if module is not None:
            (adapter,) = module.active_adapters
            tensor = (tensor.float() + module.get_delta_weight(adapter).float()).to(tensor.dtype)
        weights[name.replace(".base_layer.", ".")] = tensor.to("cpu", copy=True)
    return weights


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

    def synchronise(self) -> None:
        """Copy the policy's weights; every rank at the same time."""
        with gathered(self.engine):
            weights = whole_weights(self.engine.module.model)
        # Tied weights are in there once.
        _, unknown = self.model.load_state_dict(weights, strict=False)
        if unknown:
            raise RuntimeError(f"the lagging copy is of another architecture: it has no {unknown[0]}")
