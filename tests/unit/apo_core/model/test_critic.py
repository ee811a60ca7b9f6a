import pytest
import torch

from apo_core.model.critic import Critic, PolicyAndCritic
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses


@pytest.fixture
def batch():
    return pad_responses([[3, 4, 5], [6]], [[4, 1], [8, 9, 1]], pad_id=0)


@pytest.fixture
def critic(decoder):
    new_critic = Critic(decoder)
    torch.nn.init.normal_(new_critic.head.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(new_critic.head.bias, 0.5)
    return new_critic


def test_it_begins_with_0_everywhere(decoder, batch):
    assert (Critic(decoder)(*batch.inputs) == 0).all()


def test_a_value_is_of_what_comes_before_its_token(critic, batch):
    """A changed token changes the values after it, and not the value at it."""
    values = critic(*batch.inputs)
    assert values.shape == batch.mask.shape
    assert (values[~batch.mask] == 0).all()
    assert (values[batch.mask] != 0).all()
    changed = batch.token_ids.clone()
    changed[1, 2] = 13  # the second token of the second response
    other = critic(changed, batch.attended, batch.mask)
    torch.testing.assert_close(other[0], values[0])
    torch.testing.assert_close(other[1, :2], values[1, :2])
    assert (other[1, 2] - values[1, 2]).abs() > 1e-6


def test_it_is_a_linear_function_of_the_models_last_states(critic, decoder, batch):
    hidden = decoder.base_model(batch.token_ids, batch.attended.long()).last_hidden_state
    expected = (hidden @ critic.head.weight[0] + 0.5)[:, :-1]
    torch.testing.assert_close(critic(*batch.inputs)[batch.mask], expected[batch.mask])


def test_an_empty_mask_yields_zeros_that_back_propagate(critic, batch):
    values = critic(batch.token_ids, batch.attended, torch.zeros_like(batch.mask))
    assert (values == 0).all()
    values.sum().backward()
    assert (critic.head.weight.grad == 0).all()


def test_beside_a_policy_it_has_no_output_embedding(critic, decoder, batch):
    policy = ResponseLogProbs(decoder, temperature=1.0)
    both = PolicyAndCritic(policy, critic)
    assert both.model is decoder
    log_probs, values = both(*batch.inputs)
    assert torch.equal(log_probs, policy(*batch.inputs))
    assert torch.equal(values, critic(*batch.inputs))
    assert not [name for name, _ in critic.named_parameters() if "lm_head" in name]
