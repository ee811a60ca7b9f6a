"""Packed linear layers: the same numbers, on the weights as they are now, and nothing left behind."""

import pytest
import torch
from torch import nn

from apo_core.linear import large_product, packed_linears

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


def test_other_precisions_are_left_alone():
    layers = model().bfloat16()
    with packed_linears(layers, rows=3):
        assert not any("forward" in vars(layer) for layer in layers)


@pytest.mark.parametrize("columns", [4, SIZE])
@pytest.mark.parametrize("biased", [True, False])
def test_a_large_product_is_the_plain_one(columns, biased):
    states, weight = torch.randn(5, SIZE), torch.randn(columns, SIZE)
    bias = torch.randn(columns) if biased else None
    torch.testing.assert_close(
        large_product(states, weight, bias), nn.functional.linear(states, weight, bias), atol=1e-4, rtol=1e-4
    )
