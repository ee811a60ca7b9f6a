import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from apo_core.logprobs import ResponseLogProbs, head_mismatch, pad_rollouts

PROMPTS = [[3, 4, 5, 14], [6, 14], [7, 8, 9, 10, 11, 14], [12, 14]]
RESPONSES = [[4, 5, 6, 7, 1], [8, 1], [9], [3, 3, 10, 12, 13, 15, 16, 1]]
# Different weights a row, so that a gradient that lands in another row shows.
ROW_WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 3.0])


@pytest.fixture
def batch():
    return pad_rollouts(PROMPTS, RESPONSES, pad_id=0)


def naive(model, temperature):
    """The whole vocabulary's log-softmax, one unpadded row and one token at a time."""
    sums = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        row = prompt + response
        log_probs = (model(torch.tensor([row])).logits[0] / temperature).log_softmax(-1)  # (T, V)
        sums.append(sum(log_probs[t - 1, row[t]] for t in range(len(prompt), len(row))))
    return torch.stack(sums)


def gradients(model, log_probs):
    return torch.autograd.grad((log_probs * ROW_WEIGHTS).sum(), list(model.parameters()))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk_tokens", [1, 3, 1024])
def test_log_probs_and_gradients_equal_the_naive_ones(decoder, batch, chunk_tokens, temperature):
    ours = ResponseLogProbs(decoder, temperature=temperature, chunk_tokens=chunk_tokens)(*batch)
    expected = naive(decoder, temperature)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(gradients(decoder, ours), gradients(decoder, expected), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-4)


def test_more_padding_and_its_token_change_nothing(decoder, batch):
    module = ResponseLogProbs(decoder, temperature=1.0)
    wider = [
        torch.nn.functional.pad(batch.token_ids, (0, 5), value=9),
        torch.nn.functional.pad(batch.attended, (0, 5)),
        torch.nn.functional.pad(batch.response, (0, 5)),
    ]
    with torch.no_grad():
        torch.testing.assert_close(module(*wider), module(*batch), atol=1e-5, rtol=1e-5)


def test_a_row_without_response_tokens_is_zero_and_leaves_the_others_alone(decoder, batch):
    module = ResponseLogProbs(decoder, temperature=1.0)
    response = batch.response.clone()
    response[1] = False
    with torch.no_grad():
        whole, found = module(*batch), module(batch.token_ids, batch.attended, response)
    assert found[1] == 0
    torch.testing.assert_close(found[[0, 2, 3]], whole[[0, 2, 3]])


def test_an_empty_mask_yields_zeros_that_back_propagate(decoder, batch):
    log_probs = ResponseLogProbs(decoder, temperature=1.0)(
        batch.token_ids, batch.attended, torch.zeros_like(batch.response)
    )
    assert log_probs.tolist() == [0.0] * 4
    found = torch.autograd.grad(log_probs.sum(), list(decoder.parameters()))
    assert all((gradient == 0).all() for gradient in found)


def test_gradients_reach_every_parameter(decoder, batch):
    log_probs = ResponseLogProbs(decoder, temperature=1.0)(*batch)
    assert all(gradient.abs().sum() > 0 for gradient in gradients(decoder, log_probs))


def test_the_head_sees_one_chunk_of_response_tokens_at_a_time(decoder, batch):
    seen = []
    hook = decoder.lm_head.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape)))
    try:
        log_probs = ResponseLogProbs(decoder, temperature=1.0, chunk_tokens=6)(*batch)
        forward = list(seen)
        log_probs.sum().backward()
    finally:
        hook.remove()
        decoder.zero_grad()
    # 5 + 2 + 1 + 8 = 16 response tokens; the backward pass computes each chunk again and keeps none.
    assert forward == [(6, 17), (6, 17), (4, 17)]
    assert sorted(seen[3:]) == sorted(forward)


def test_rollouts_are_padded_on_the_right():
    batch = pad_rollouts([[5, 6], [7]], [[8], [9, 1, 2]], pad_id=0)
    assert batch.token_ids.tolist() == [[5, 6, 8, 0], [7, 9, 1, 2]]
    yes, no = True, False
    assert batch.attended.tolist() == [[yes, yes, yes, no], [yes, yes, yes, yes]]
    assert batch.response.tolist() == [[no, no, yes, no], [no, yes, yes, yes]]


def test_a_pad_token_inside_a_response_counts():
    batch = pad_rollouts([[5]], [[0, 1]], pad_id=0)
    assert batch.attended.tolist() == [[True, True, True]]
    assert batch.response.tolist() == [[False, True, True]]


def test_prompts_and_responses_must_pair_up():
    with pytest.raises(ValueError, match="zip"):
        pad_rollouts([[1], [2]], [[3]], pad_id=0)


def test_a_plain_head_reproduces_the_models_own_logits(decoder):
    assert head_mismatch(decoder) < 1e-6


@pytest.mark.parametrize(("cap", "low", "high"), [(None, 0.0, 1e-6), (1.0, 0.1, 100.0)])
def test_capped_logits_are_noticed(cap, low, high):
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=17,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=cap,
    )
    model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(20)
    assert low <= head_mismatch(model) <= high
