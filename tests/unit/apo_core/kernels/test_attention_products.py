import pytest
import torch

from apo_core.kernels import attention_products
from apo_core.kernels.attention_products import attention_by_products

ROWS, HEADS, KEY_HEADS, TOKENS, SIZE, SCALING = 3, 6, 2, 7, 4, 0.4


def inputs(dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = [(ROWS, heads, TOKENS, SIZE) for heads in (HEADS, KEY_HEADS, KEY_HEADS, HEADS)]
    *attended, gradient = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    return [part.requires_grad_() for part in attended], gradient


def written_out(query, key, value, attended):
    key, value = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in (key, value))
    scores = (query @ key.mT * SCALING).masked_fill(~attended, -torch.inf)
    return scores.softmax(-1).nan_to_num() @ value


def causal():
    return torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()[None, None]


def right_padded():
    lengths = torch.tensor([TOKENS, 4, 1])[:, None, None, None]
    return causal() & (torch.arange(TOKENS) < lengths)


@pytest.mark.parametrize("block", [1, 3 * TOKENS**2, 2**18])  # a group at a time, and all of them
@pytest.mark.parametrize("mask", [None, right_padded()])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_states_and_gradients_are_those_of_attention_written_out(block, mask, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(attention_products, "_BLOCK", block)
    parts, gradient = inputs(dtype)
    double_inputs = [part.detach().double().requires_grad_() for part in parts]
    expected = written_out(*double_inputs, causal() if mask is None else mask)
    states = attention_by_products(*parts, mask, SCALING)
    assert states.dtype == dtype
    close = {"atol": tolerance, "rtol": tolerance, "check_dtype": False}
    torch.testing.assert_close(states, expected, **close)
    states.backward(gradient)
    expected.backward(gradient.double())
    for ours, theirs in zip(parts, double_inputs, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, **close)


def test_a_query_that_attends_to_nothing_spoils_nobody():
    left_padded = causal() & torch.tensor([False] * 2 + [True] * 5)
    parts, gradient = inputs(torch.float32)
    double_inputs = [part.detach().double().requires_grad_() for part in parts]
    states = attention_by_products(*parts, left_padded.expand(ROWS, -1, -1, -1), SCALING)
    assert states.isfinite().all()
    gradient[:, :, :2] = 0  # nobody reads padding
    states.backward(gradient)
    written_out(*double_inputs, left_padded).backward(gradient.double())
    for ours, theirs in zip(parts, double_inputs, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5, check_dtype=False)
