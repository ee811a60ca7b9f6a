"""The canary's tokens and arithmetic; tests/integration compares a real engine by it."""

import math

import pytest
import torch

from apo_core.errors import ApoError
from apo_core.training.canary import canary_tokens, difference, policy_log_probs, refuse_difference


def chats(count, own):
    """Prompts of a chat: 50 tokens and 30 that all share around `own` of their own."""
    before, after = list(range(1000, 1050)), list(range(2000, 2030))
    return [[*before, *range(100 * number, 100 * number + own), *after] for number in range(count)]


def test_what_all_prompts_share_is_left_out():
    tokens = canary_tokens(chats(20, own=40), longest=500)
    assert len(tokens) == 128
    assert all(token < 1000 or token >= 3000 for token in tokens)
    # The middle 16 of 40, of eight prompts.
    assert tokens == [100 * number + 12 + offset for number in range(8) for offset in range(16)]


def test_short_prompts_give_what_they_have():
    tokens = canary_tokens(chats(60, own=3), longest=500)
    assert tokens[:6] == [0, 1, 2, 100, 101, 102]
    assert len(tokens) == 128


def test_where_prompts_have_little_of_their_own_whole_ones_follow():
    prompts = chats(3, own=2)
    tokens = canary_tokens(prompts, longest=500)
    assert tokens == [0, 1, 100, 101, 200, 201, *prompts[0], *prompts[1]][:128]


@pytest.mark.parametrize("prompts", [[[5, 6, 7]], [[5, 6, 7]] * 4])
def test_prompts_all_the_same_are_better_than_none(prompts):
    assert canary_tokens(prompts, longest=500) == [5, 6, 7] * len(prompts)


def test_a_prompt_that_is_all_beginning_and_end_has_nothing_of_its_own():
    assert canary_tokens([[1, 1], [1, 1, 1], [1, 1, 9, 1, 1]], longest=1) == [9]


def test_there_are_no_more_than_the_engine_takes():
    assert len(canary_tokens(chats(20, own=40), longest=100)) == 100


@pytest.mark.parametrize(
    ("policy", "sampler", "expected"),
    [
        ([-1.0, -2.0], [-1.0, -2.0], (0.0, 0.0)),
        ([-1.0, -2.0], [-1.25, -2.75], (0.5, 0.75)),
        ([-1.0, -2.0], [-1.0, math.nan], (math.inf, math.inf)),
        ([math.nan, -2.0], [-1.0, -2.0], (math.inf, math.inf)),
        ([-1.0, -2.0], [-math.inf, -2.0], (math.inf, math.inf)),
    ],
)
def test_what_is_no_number_is_far_away(policy, sampler, expected):
    assert difference(policy, sampler) == expected


def test_the_refusal_tells_the_mean_and_the_largest():
    refuse_difference([-1.0, -2.0], [-1.0, -2.0001], torch.float32)
    refuse_difference([-1.0, -2.0], [-1.0, -2.09], torch.bfloat16)
    with pytest.raises(ApoError, match=r"0\.25 nats per token from the policy's, 0\.5 at most: it has not"):
        refuse_difference([-1.0, -2.0], [-1.0, -2.5], torch.bfloat16)
    with pytest.raises(ApoError, match="has not taken the weights over"):
        refuse_difference([-1.0, -2.0], [-1.0, math.nan], torch.float32)


def test_log_probs_are_those_of_the_tokens_that_came(decoder):
    token_log_probs = policy_log_probs(decoder, [3, 4, 5])
    assert len(token_log_probs) == 2
    logits = decoder(input_ids=decoder.dummy_inputs["input_ids"].new_tensor([[3, 4, 5]])).logits
    expected = logits[0].log_softmax(-1)
    assert token_log_probs == pytest.approx([expected[0, 4].item(), expected[1, 5].item()])
