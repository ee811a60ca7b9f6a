"""The canary's arithmetic and the weights handed to vLLM; tests/integration hands them to a real engine."""

import math

import pytest

from apo_core.training.policy_copy import whole_weights
from apo_core.training.synchronised_vllm import _difference, log_probs


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ([-1.0, -2.0], [-1.0, -2.0], 0.0),
        ([-1.0, -2.0], [-1.5, -2.5], 0.5),
        ([-1.0, -2.0], [-1.0, math.nan], math.inf),
        ([math.nan, -2.0], [-1.0, -2.0], math.inf),
        ([-1.0, -2.0], [-math.inf, -2.0], math.inf),
    ],
)
def test_what_is_no_number_is_far_away(expected, actual, difference):
    assert _difference(expected, actual) == difference


def test_log_probs_are_those_of_the_tokens_that_came(decoder):
    token_log_probs = log_probs(decoder, [3, 4, 5])
    assert len(token_log_probs) == 2
    logits = decoder(input_ids=decoder.dummy_inputs["input_ids"].new_tensor([[3, 4, 5]])).logits
    expected = logits[0].log_softmax(-1)
    assert token_log_probs == pytest.approx([expected[0, 4].item(), expected[1, 5].item()])


def test_tied_weights_are_handed_over_once(decoder):
    names = set(whole_weights(decoder))
    assert names == set(decoder.state_dict())  # nothing is tied here
    decoder_head = decoder.get_output_embeddings()
    kept = decoder_head.weight
    try:
        decoder_head.weight = decoder.get_input_embeddings().weight
        assert set(whole_weights(decoder)) == names - {"lm_head.weight"}
    finally:
        decoder_head.weight = kept
