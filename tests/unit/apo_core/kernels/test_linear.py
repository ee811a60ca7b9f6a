"""Quick and packed linear layers: the numbers of plain ones, and nothing left behind."""

import copy
import weakref

import pytest
import torch
from torch import nn

from apo_core.kernels.linear import can_pack, packed_linears, product_for, quick_linears

SIZE = 300  # squared, it is large


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False), nn.Linear(SIZE, 4))


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_packed_layers_give_what_plain_ones_do(rows):
    layers, states = model(), torch.randn(rows, SIZE)
    with torch.no_grad():
        plain = layers(states)
        with packed_linears(layers, rows=8):
            assert "forward" in vars(layers[0])
            assert "forward" in vars(layers[1])
            assert "forward" not in vars(layers[2])  # too small to gain
            torch.testing.assert_close(layers(states), plain)
        assert not any("forward" in vars(layer) for layer in layers)


def test_the_block_packs_the_weights_of_its_beginning():
    layers, states = model(), torch.randn(3, SIZE)
    with torch.no_grad():
        for _ in range(2):
            layers[1].weight.mul_(-2)
            plain = layers(states)
            with packed_linears(layers, rows=3):
                torch.testing.assert_close(layers(states), plain)


def test_layers_are_as_they_were_after_an_error():
    layers = model()
    with pytest.raises(ZeroDivisionError), packed_linears(layers, rows=3):
        _ = 1 / 0
    assert not any("forward" in vars(layer) for layer in layers)
    layers(torch.randn(2, SIZE)).sum().backward()
    assert layers[0].weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_what_is_packed_in_other_precisions_gives_the_same(dtype):
    layers, states = model().to(dtype), torch.randn(5, SIZE, dtype=dtype)
    with torch.no_grad():
        plain = layers(states)
        with packed_linears(layers, rows=5):
            assert ("forward" in vars(layers[0])) == can_pack(dtype, "cpu")
            torch.testing.assert_close(layers(states), plain)


def test_only_a_processor_packs_and_only_what_it_multiplies_with():
    assert can_pack(torch.float32, "cpu")
    assert not can_pack(torch.float64, "cpu")
    assert not can_pack(torch.float32, "cuda")
    assert not can_pack(torch.bfloat16, "cuda")


@pytest.mark.parametrize("shape", [(5, SIZE), (2, 3, SIZE), (SIZE,), (0, SIZE)])
def test_quick_layers_have_the_values_and_gradients_of_plain_ones(shape):
    plain, quick = model(), model()
    quick_linears(quick)
    torch.manual_seed(1)
    states = torch.randn(shape)
    tensors = []
    for layers in (plain, quick):
        inputs = states.clone().requires_grad_()
        output = layers(inputs)
        output.sin().sum().backward()
        tensors.append([output, inputs.grad, *(parameter.grad for parameter in layers.parameters())])
    for plain_tensor, quick_tensor in zip(*tensors, strict=True):
        torch.testing.assert_close(plain_tensor, quick_tensor)


def test_quick_layers_that_are_frozen_keep_no_states():
    layers = model().requires_grad_(False)
    quick_linears(layers)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        layers(torch.randn(3, SIZE, requires_grad=True)).sum().backward()
    # torch's own layer, the small one, keeps its weight; the large ones keep nothing.
    assert [tensor.shape for tensor in kept] == [(SIZE, 4)]


def test_quick_layers_are_packed_copied_and_forgotten_as_plain_ones_are():
    layers, states = model(), torch.randn(3, SIZE)
    quick_linears(layers)
    expected = layers(states)
    with torch.no_grad(), packed_linears(layers, rows=3):
        assert "forward" in vars(layers[0])
        torch.testing.assert_close(layers(states), expected)
    assert "forward" not in vars(layers[0])
    other = copy.deepcopy(layers)
    with torch.no_grad():
        layers[0].weight.zero_()
    torch.testing.assert_close(other(states), expected)
    gone = weakref.ref(layers)
    del layers
    assert gone() is None  # nothing refers to itself: models are loaded where no garbage is looked for


@pytest.mark.parametrize("columns", [4, SIZE])
@pytest.mark.parametrize("biased", [True, False])
def test_the_product_for_a_weight_is_the_plain_one(columns, biased):
    states, weight = torch.randn(5, SIZE), torch.randn(columns, SIZE)
    bias = torch.randn(columns) if biased else None
    multiply = product_for(weight)
    assert (multiply is nn.functional.linear) == (columns == 4)
    torch.testing.assert_close(
        multiply(states, weight, bias), nn.functional.linear(states, weight, bias), atol=1e-4, rtol=1e-4
    )
