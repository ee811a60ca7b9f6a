"""The way of the policy's weights to the vLLM engine beside it: bucket by bucket, whole for no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.policy_copy import (
    BUCKET_BYTES,
    Weight,
    adapted_modules,
    adapter_weights,
    base_weights,
    computed,
    in_buckets,
    merged_weights,
)

Update = dict[str, Any]


class WeightTransfer:
    """Hands an engine what it lacks of the policy; every rank at the same time.

    An engine with an adapter gets the frozen weights when it has none, and the adapters' at every call.
    Others get all weights with what the adapters add, which bfloat16 would round away.
    """

    def __init__(self, engine: Any, vllm: VllmProcess, *, bucket_bytes: int = BUCKET_BYTES) -> None:
        """Begin with nothing handed over.

        Args:
            engine: DeepSpeed's, over the policy.
            vllm: an engine for the same architecture.
            bucket_bytes: the most that a bucket holds; a weight that is larger is a bucket by itself.
        """
        self.engine = engine
        self.vllm = vllm
        self.bucket_bytes = bucket_bytes

    @torch.no_grad()
    def send(self) -> None:
        """Bring the engine up to date.

        Raises:
            ApoError: it cannot be reached, or does not take what it gets.
        """
        policy, vllm = self.engine.module.model, self.vllm
        if vllm.lora_rank is None:
            self._replace_weights(merged_weights(policy))
            return
        if vllm.needs_weights:
            self._replace_weights(base_weights(policy))
        layer = next(iter(adapted_modules(policy).values()))
        (adapter,) = layer.active_adapters
        self._send(
            adapter_weights(policy),
            vllm.load_adapter,
            finish=lambda: vllm.finish_adapter(layer.r[adapter], layer.lora_alpha[adapter]),
        )

    def _replace_weights(self, weights: Sequence[Weight]) -> None:
        self.vllm.start_weights()
        self._send(weights, self.vllm.load_weights, finish=self.vllm.finish_weights)

    def _send(
        self, weights: Sequence[Weight], load: Callable[[Update], None], *, finish: Callable[[], None]
    ) -> None:
        """Lay one bucket after the other into the buffer, which is given back when vLLM has let go of it."""
        buckets = in_buckets(weights, self.bucket_bytes)
        size = max(sum(weight.bytes for weight in bucket) for bucket in buckets)
        with self.vllm.buffer(size) as buffer:
            for bucket in computed(self.engine, weights, self.bucket_bytes):
                load(laid_into(buffer, bucket))
            finish()


def laid_into(buffer: Tensor, bucket: Sequence[tuple[Weight, Tensor]]) -> Update:
    """Copy weights into the buffer one after the other, and say what lies there.

    Args:
        buffer: (size,) uint8.
        bucket: weights of one dtype and their tensors.

    Returns:
        What vLLM's own transfers ask for: names, dtypes, shapes and bytes of the weights, in their order.
    """
    begin = 0
    for weight, tensor in bucket:
        target = buffer[begin : begin + weight.bytes].view(weight.dtype).view(weight.shape)
        target.copy_(tensor)
        begin += weight.bytes
    return {
        "names": [weight.name for weight, _ in bucket],
        "dtype_names": [str(weight.dtype).removeprefix("torch.") for weight, _ in bucket],
        "shapes": [list(weight.shape) for weight, _ in bucket],
        "tensor_sizes": [weight.bytes for weight, _ in bucket],
    }
