import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig
from transformers.cache_utils import DynamicLayer

from apo_core.kernels.kv_cache import GrowingLayer, growing_cache


def states(rows, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 2, tokens, size, generator=generator) for size in (3, 5)]


def same(layer, expected):
    return torch.equal(layer.keys, expected.keys) and torch.equal(layer.values, expected.values)


# How many tokens to append, or which share of the rows to keep.
steps = st.lists(st.one_of(st.integers(1, 90), st.floats(0, 1)), max_size=8)


# A row may become longer than was said: then there is room for it, too.
@given(
    st.integers(1, 6),
    st.integers(1, 90),
    steps,
    st.sampled_from([1, 100, 900]),
    st.randoms(use_true_random=False),
)
def test_it_holds_what_concatenation_holds(rows, tokens, steps, most, random):
    ours, theirs = GrowingLayer(most), DynamicLayer()
    for layer in (ours, theirs):
        layer.update(*states(rows, tokens, 0))
    for number, step in enumerate(steps, start=1):
        if isinstance(step, int):
            returned = [layer.update(*states(rows, step, number)) for layer in (ours, theirs)]
            assert all(torch.equal(actual, expected) for actual, expected in zip(*returned, strict=True))
        else:
            rows = max(1, round(step * rows))
            indices = torch.tensor(random.choices(range(len(ours.keys)), k=rows))
            for layer in (ours, theirs):
                layer.batch_select_indices(indices)
        assert same(ours, theirs)
        assert ours.get_seq_length() == theirs.get_seq_length()


@pytest.mark.parametrize("indices", [[0, 0, 0, 1, 1, 1], [1, 0, 1, 0]])
def test_rows_can_be_repeated(indices):
    ours, theirs = GrowingLayer(99), DynamicLayer()
    for layer in (ours, theirs):
        layer.update(*states(2, 4, 0))
        layer.batch_select_indices(torch.tensor(indices))
        layer.update(*states(len(indices), 1, 1))
    assert same(ours, theirs)


def test_a_token_is_added_and_a_row_leaves_in_place():
    layer = GrowingLayer(99)
    layer.update(*states(4, 10, 0))
    addresses = layer.keys.data_ptr(), layer.values.data_ptr()
    layer.update(*states(4, 1, 1))
    layer.batch_select_indices(torch.tensor([0, 3, 2]))
    assert (layer.keys.data_ptr(), layer.values.data_ptr()) == addresses


def test_only_full_attention_grows_in_place():
    kinds = ["full_attention", "sliding_attention"]
    config = LlamaConfig(num_hidden_layers=2, layer_types=kinds, sliding_window=4)
    assert [type(layer) is GrowingLayer for layer in growing_cache(config, 99).layers] == [True, False]


def test_room_doubles_up_to_what_a_row_may_need():
    layer = GrowingLayer(1000)
    layer.update(*states(2, 100, 0))
    rooms = []
    for step in range(900):
        before = layer.keys.untyped_storage().nbytes()
        layer.update(*states(2, 1, step))
        if layer.keys.untyped_storage().nbytes() != before:
            rooms.append(layer.keys.untyped_storage().nbytes() // (2 * 2 * 3 * 4))
    assert rooms == [402, 806, 1000]
    assert layer.keys.shape[2] == 1000


@pytest.mark.parametrize("indices", [[0, 3, 2], [2, 2, 2, 0, 1, 1]])
def test_a_cache_selects_the_rows_of_all_its_layers(indices):
    config = LlamaConfig(
        num_hidden_layers=2, layer_types=["full_attention", "sliding_attention"], sliding_window=4
    )
    ours, theirs = growing_cache(config, 99), DynamicCache(config=config)
    for cache in (ours, theirs):
        for layer in range(2):
            cache.update(*states(4, 3, layer), layer)
        cache.batch_select_indices(torch.tensor(indices))
    assert all(map(same, ours.layers, theirs.layers))
