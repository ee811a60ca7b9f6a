"""The weights handed to vLLM; tests/integration hands them to a real engine."""

from apo_core.training.policy_copy import whole_weights


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
