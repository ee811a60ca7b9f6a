"""The order of a transfer, and that every weight comes out of its bucket as it went in."""

import copy
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from apo_core.model.lora import add_adapters
from apo_core.sampling.vllm_weights import unpacked
from apo_core.training.policy_copy import adapter_weights, base_weights
from apo_core.training.weight_transfer import WeightTransfer


class Receiver:
    """The receiving end without an engine: what comes, in its order, as a worker unpacks it."""

    def __init__(self, lora_rank=None):
        self.lora_rank, self.needs_weights = lora_rank, True
        self.calls, self.sizes = [], []
        self.weights, self.adapter = {}, {}

    @contextmanager
    def buffer(self, size):
        self.sizes.append(size)
        self.memory = torch.empty(size, dtype=torch.uint8)
        yield self.memory
        self.memory.fill_(255)  # it is somebody else's now

    def start_weights(self):
        self.calls.append("start")

    def load_weights(self, update):
        self.calls.append("weights")
        self.weights |= unpacked(update | {"buffer": self.memory})

    def finish_weights(self):
        self.calls.append("finish")
        self.needs_weights = False

    def load_adapter(self, update):
        self.calls.append("adapter")
        self.adapter |= unpacked(update | {"buffer": self.memory})

    def finish_adapter(self, rank, alpha):
        self.calls.append((rank, alpha))


def engine_over(policy):
    return SimpleNamespace(module=SimpleNamespace(model=policy), zero_optimization_stage=lambda: 0)


def assert_received(received, weights):
    assert received.keys() == {weight.name for weight in weights}
    for weight in weights:
        assert torch.equal(received[weight.name], weight.sources[0])


@pytest.mark.parametrize("limit", [1, 3000, 2**28])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_arrives_whatever_the_size_of_a_bucket(decoder, limit, dtype):
    policy = copy.deepcopy(decoder).to(dtype)
    policy.register_buffer("odd", torch.arange(3))  # eight bytes each, after an odd number of twos
    policy.lm_head.weight = torch.nn.Parameter(
        policy.lm_head.weight.detach().t().clone().t()
    )  # not contiguous
    receiver = Receiver()
    WeightTransfer(engine_over(policy), receiver, bucket_bytes=limit).send()
    assert_received(receiver.weights, base_weights(policy))
    buckets = receiver.calls.count("weights")
    assert receiver.calls == ["start", *["weights"] * buckets, "finish"]
    assert buckets == {1: len(receiver.weights), 2**28: 2}.get(limit, buckets)
    largest = max(weight.bytes for weight in base_weights(policy))
    assert max(receiver.sizes) <= max(limit, largest)


def test_frozen_weights_go_once_and_again_when_the_engine_has_lost_them(decoder):
    policy = copy.deepcopy(decoder)
    add_adapters(policy, rank=4, alpha=12.0, seed=0)
    receiver = Receiver(lora_rank=4)
    transfer = WeightTransfer(engine_over(policy), receiver)
    transfer.send()
    assert receiver.calls == ["start", "weights", "finish", "adapter", (4, 12.0)]
    assert_received(receiver.weights, base_weights(policy))
    receiver.calls.clear()
    with torch.no_grad():
        for weight in adapter_weights(policy):
            weight.sources[0].add_(1.0)
    transfer.send()
    assert receiver.calls == ["adapter", (4, 12.0)]
    assert_received(receiver.adapter, adapter_weights(policy))
    receiver.needs_weights = True  # it has slept
    receiver.calls.clear()
    transfer.send()
    assert receiver.calls == ["start", "weights", "finish", "adapter", (4, 12.0)]
