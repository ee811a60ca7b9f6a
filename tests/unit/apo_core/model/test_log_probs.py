import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma2Config, Gemma2ForCausalLM

from apo_core.model.head import HeadLogProbs, chunk_tokens_on
from apo_core.model.loading import head_mismatch
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses, sum_tokens

PROMPTS = [[3, 4, 5, 14], [6, 14], [7, 8, 9, 10, 11, 14], [12, 14]]
RESPONSES = [[4, 5, 6, 7, 1], [8, 1], [9], [3, 3, 10, 12, 13, 15, 16, 1]]
# Different weights per row, so that a gradient that lands in another row shows.
ROW_WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 3.0])


@pytest.fixture
def batch():
    return pad_responses(PROMPTS, RESPONSES, pad_id=0)


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
    module = ResponseLogProbs(decoder, temperature=temperature, chunk_tokens=chunk_tokens)
    ours = sum_tokens(module(*batch.inputs), batch.mask)
    expected = naive(decoder, temperature)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    for gradient, expected_gradient in zip(
        gradients(decoder, ours), gradients(decoder, expected), strict=True
    ):
        torch.testing.assert_close(
            gradient, expected_gradient, atol=1e-5 * float(expected_gradient.abs().max()), rtol=1e-4
        )


def test_more_padding_and_its_token_change_nothing(decoder, batch):
    module = ResponseLogProbs(decoder, temperature=1.0)
    wider = [
        torch.nn.functional.pad(batch.token_ids, (0, 5), value=9),
        torch.nn.functional.pad(batch.attended, (0, 5)),
        torch.nn.functional.pad(batch.mask, (0, 5)),
    ]
    with torch.no_grad():
        wide, narrow = module(*wider), module(*batch.inputs)
        torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow, atol=1e-5, rtol=1e-5)
        assert (wide[:, narrow.shape[1] :] == 0).all()


def test_a_row_without_response_tokens_is_zero_and_leaves_the_others_alone(decoder, batch):
    module = ResponseLogProbs(decoder, temperature=1.0)
    mask = batch.mask.clone()
    mask[1] = False
    with torch.no_grad():
        whole, masked = module(*batch.inputs), module(batch.token_ids, batch.attended, mask)
    assert (masked[1] == 0).all()
    torch.testing.assert_close(masked[[0, 2, 3]], whole[[0, 2, 3]])


def test_an_empty_mask_yields_zeros_that_back_propagate(decoder, batch):
    log_probs = ResponseLogProbs(decoder, temperature=1.0)(
        batch.token_ids, batch.attended, torch.zeros_like(batch.mask)
    )
    assert log_probs.shape == batch.mask.shape
    assert (log_probs == 0).all()
    parameter_gradients = torch.autograd.grad(log_probs.sum(), list(decoder.parameters()))
    assert all((gradient == 0).all() for gradient in parameter_gradients)


@pytest.mark.parametrize("bias", [False, True])
def test_the_heads_gradient_is_that_of_its_values(bias):
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=bias).double()
    states = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(7)
    module = HeadLogProbs(head, temperature=0.7, chunk_tokens=3)
    weights = torch.linspace(-1, 2, 7)
    head_gradients = torch.autograd.grad(
        (module(states, targets) * weights).sum(), [states, *head.parameters()]
    )
    expected = (head(states) / 0.7).log_softmax(-1)[torch.arange(7), targets]
    torch.testing.assert_close(module(states, targets).double(), expected, atol=1e-6, rtol=1e-6)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), [states, *head.parameters()])
    for gradient, expected_gradient in zip(head_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 3e-2)])
def test_a_frozen_head_passes_the_gradient_on(dtype, close):
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=False).to(dtype).requires_grad_(False)
    states = torch.randn(7, 5, dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        HeadLogProbs(head, temperature=1.0)(states, torch.arange(7)).sum(), states
    )
    naive = head(states).float().log_softmax(-1)[torch.arange(7), torch.arange(7)]
    (expected,) = torch.autograd.grad(naive.sum(), states)
    torch.testing.assert_close(gradient, expected, atol=close, rtol=close)


def test_the_heads_gradient_is_summed_over_chunks_in_float32():
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 4, bias=False).bfloat16()
    states = torch.randn(2000, 8).bfloat16()
    module = HeadLogProbs(head, temperature=1.0, chunk_tokens=4)
    (gradient,) = torch.autograd.grad(module(states, torch.zeros(2000, dtype=torch.long)).sum(), head.weight)
    double_weight = head.weight.detach().double().requires_grad_()
    log_probs = (states.double() @ double_weight.t()).log_softmax(-1)[:, 0]
    (expected,) = torch.autograd.grad(log_probs.sum(), double_weight)
    error = (gradient.double() - expected).norm() / expected.norm()
    assert error < 5e-3  # summed in bfloat16 it is several times that


def test_gradients_reach_every_parameter(decoder, batch):
    log_probs = ResponseLogProbs(decoder, temperature=1.0)(*batch.inputs)
    sums = sum_tokens(log_probs, batch.mask)
    assert all(gradient.abs().sum() > 0 for gradient in gradients(decoder, sums))


def test_each_tokens_log_prob_is_at_the_position_that_predicts_it(decoder, batch):
    batch_log_probs = ResponseLogProbs(decoder, temperature=0.7)(*batch.inputs)
    rows = zip(PROMPTS, RESPONSES, batch_log_probs, batch.mask, strict=True)
    for prompt, response, log_probs, predicts in rows:
        every = (decoder(torch.tensor([prompt + response])).logits[0] / 0.7).log_softmax(-1)  # (T, V)
        at = range(len(prompt) - 1, len(prompt) + len(response) - 1)
        expected = torch.stack([every[t, token] for t, token in zip(at, response, strict=True)])
        torch.testing.assert_close(log_probs[predicts], expected, atol=1e-5, rtol=1e-5)
        assert predicts.nonzero()[:, 0].tolist() == list(at)
        assert (log_probs[~predicts] == 0).all()


class Widest(TorchDispatchMode):
    """The most rows of any tensor over the vocabulary, weights excepted."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight.untyped_storage().data_ptr()
        self.rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        over_vocabulary = isinstance(result, torch.Tensor) and result.dim() > 1 and result.shape[-1] == 17
        if over_vocabulary and result.untyped_storage().data_ptr() != self.weight:
            self.rows = max(self.rows, result.shape[:-1].numel())
        return result


def test_logits_exist_for_one_chunk_of_response_tokens_at_a_time(decoder, batch):
    module = ResponseLogProbs(decoder, temperature=0.7, chunk_tokens=6)
    hidden = decoder.base_model(batch.token_ids, batch.attended.long()).last_hidden_state.detach()
    states = hidden[:, :-1][batch.mask].requires_grad_()  # 5 + 2 + 1 + 8 = 16 response tokens
    with Widest(decoder.lm_head.weight) as widest:
        module.head(states, batch.token_ids[:, 1:][batch.mask]).sum().backward()
    decoder.zero_grad()
    assert widest.rows == 6


def test_a_gpu_takes_more_tokens_at_once_than_a_processor():
    assert [chunk_tokens_on(device) for device in ("cpu", "cuda", "meta")] == [256, 2048, 256]


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
