"""What of a policy is handed over, by which names, in which buckets."""

import copy
from types import SimpleNamespace

import pytest
import torch

from apo_core.model.lora import add_adapters, merged
from apo_core.training.policy_copy import (
    Weight,
    adapter_weights,
    base_weights,
    computed,
    in_buckets,
    merged_weights,
)

ENGINE = SimpleNamespace(zero_optimization_stage=lambda: 0)


def weight(name, count, dtype=torch.float32):
    tensor = torch.zeros(count, dtype=dtype)
    return Weight(name=name, sources=(tensor,), compute=tensor.detach)


def names(buckets):
    return ["".join(weight.name for weight in bucket) for bucket in buckets]


@pytest.fixture
def policy(decoder):
    return copy.deepcopy(decoder)


def with_adapters(policy):
    adapters = add_adapters(policy, rank=4, alpha=12.0, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return adapters


def as_state(weights):
    return {
        weight.name: tensor.clone() for bucket in computed(ENGINE, weights, 3000) for weight, tensor in bucket
    }


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1, ["a", "b", "c", "d"]),
        (12, ["ab", "c", "d"]),
        (28, ["ab", "cd"]),
        (40, ["abcd"]),
        (10**9, ["abcd"]),
    ],
)
def test_buckets_are_as_full_as_they_may_be_and_keep_the_order(limit, expected):
    weights = [weight("a", 1), weight("b", 2), weight("c", 6), weight("d", 1)]
    assert names(in_buckets(weights, limit)) == expected


def test_a_bucket_has_one_dtype_or_a_weight_would_begin_between_two_numbers():
    weights = [weight("a", 3, torch.bfloat16), weight("b", 1), weight("c", 3, torch.bfloat16), weight("d", 1)]
    assert names(in_buckets(weights, 10**9)) == ["ac", "bd"]


def test_a_shape_is_that_of_the_whole_parameter_when_ranks_hold_parts_of_it():
    part = torch.zeros(0)
    part.ds_shape = torch.Size([3, 5])
    whole = Weight(name="w", sources=(part,), compute=part.detach)
    assert (whole.shape, whole.bytes) == ((3, 5), 60)


def test_tied_weights_are_handed_over_once(policy):
    assert {weight.name for weight in base_weights(policy)} == set(
        policy.state_dict()
    )  # nothing is tied here
    every = {weight.name for weight in base_weights(policy)}
    policy.get_output_embeddings().weight = policy.get_input_embeddings().weight
    assert {weight.name for weight in base_weights(policy)} == every - {"lm_head.weight"}


def test_merged_weights_are_those_of_the_plain_model_that_is_saved(policy):
    adapters = with_adapters(policy)
    handed_over = as_state(merged_weights(policy))
    plain = merged(adapters).state_dict()
    assert handed_over.keys() == plain.keys()
    for name, expected in plain.items():
        torch.testing.assert_close(handed_over[name], expected)


def test_base_weights_are_those_before_training(decoder, policy):
    with_adapters(policy)
    handed_over = as_state(base_weights(policy))
    assert handed_over.keys() == decoder.state_dict().keys()
    for name, expected in decoder.state_dict().items():
        assert torch.equal(handed_over[name], expected)


def test_adapters_have_the_names_that_peft_saves_them_under(policy):
    from peft import get_peft_model_state_dict

    saved = get_peft_model_state_dict(with_adapters(policy))
    handed_over = as_state(adapter_weights(policy))
    assert {f"base_model.model.{name}" for name in handed_over} == saved.keys()
    for name, weight in handed_over.items():
        assert torch.equal(weight, saved[f"base_model.model.{name}"])
