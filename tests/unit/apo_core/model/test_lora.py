"""LoRA on the tiny decoder: without its adapters the reference policy, merged a plain model."""

import copy

import pytest
import torch

from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import AdaptersOff, add_adapters, merged
from apo_core.model.micro_batch import pad_responses
from apo_core.sampling import TransformersSampler

PROMPTS = [[3, 4, 5, 14], [6, 14], [7, 8, 9, 14]]


@pytest.fixture
def batch():
    return pad_responses(PROMPTS, [[4, 5, 1], [8, 1], [9, 9, 9, 1]], pad_id=0)


@pytest.fixture
def policy(decoder):
    return copy.deepcopy(decoder)


@pytest.fixture
def adapters(policy):
    return add_adapters(policy, rank=4, alpha=8.0, seed=0)


def learn(policy):
    """Give the half of each adapter that begins as zero random numbers, in the place of training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)


def greedy(model):
    sampler = TransformersSampler(model.eval(), eos_ids={1}, pad_id=0, batch_size=3)
    return [
        response.token_ids for response in sampler.generate(PROMPTS, None, max_new_tokens=12, temperature=1.0)
    ]


def test_at_first_policy_and_reference_are_equal(decoder, policy, adapters, batch):
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    with torch.no_grad():
        assert torch.equal(AdaptersOff(log_probs, adapters)(*batch.inputs), log_probs(*batch.inputs))
        assert torch.equal(
            log_probs(*batch.inputs), ResponseLogProbs(decoder, temperature=1.0)(*batch.inputs)
        )


def test_the_reference_stays_what_it_was_while_the_policy_learns(decoder, policy, adapters, batch):
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    learn(policy)
    with torch.no_grad():
        before = ResponseLogProbs(decoder, temperature=1.0)(*batch.inputs)
        assert torch.equal(AdaptersOff(log_probs, adapters)(*batch.inputs), before)
        assert (log_probs(*batch.inputs) - before)[batch.mask].abs().min() > 1e-5


def test_only_the_adapters_learn_after_the_reference_was_asked(policy, adapters, batch):
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    AdaptersOff(log_probs, adapters)(*batch.inputs)
    learning = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in policy.named_parameters() if "lora_" in name}
    assert len(learning) == 2 * 7 * 2  # two matrices beside the seven linear layers of each of two blocks
    log_probs(*batch.inputs).sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in policy.parameters())


def test_the_merged_policy_answers_as_the_adapted_one(decoder, policy, adapters):
    learn(policy)
    expected = greedy(policy)
    assert expected != greedy(decoder)
    plain = merged(adapters)
    assert greedy(plain) == expected
    assert {name for name, _ in plain.named_parameters()} == {name for name, _ in decoder.named_parameters()}


def test_what_is_small_beside_the_weights_survives_the_merge(decoder):
    policy = copy.deepcopy(decoder).bfloat16()
    adapters = add_adapters(policy, rank=4, alpha=8.0, seed=0)
    before = policy.model.layers[0].mlp.up_proj.base_layer.weight.detach().float().clone()
    layer = policy.model.layers[0].mlp.up_proj
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(1e-5)
    expected = layer.get_delta_weight("default").float()
    plain = merged(adapters)
    torch.testing.assert_close(
        plain.model.layers[0].mlp.up_proj.weight - before, expected, atol=1e-7, rtol=1e-2
    )
