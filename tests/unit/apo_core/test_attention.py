import pytest
import torch
from transformers import AttentionInterface

from apo_core.sampling.attention import grouped_attention


class Attention(torch.nn.Module):
    num_key_value_groups = 3


@pytest.fixture
def both(decoder):
    """transformers' function and ours, on the same inputs."""
    functions = AttentionInterface()
    theirs = functions["sdpa"]
    with grouped_attention(decoder):
        ours = functions[decoder.config._attn_implementation]

    def attend(queries, mask):
        generator = torch.Generator().manual_seed(0)
        query = torch.randn(2, 6, queries, 4, generator=generator)
        key, value = (torch.randn(2, 2, 5, 4, generator=generator) for _ in range(2))
        return [
            function(Attention(), query, key, value, mask, scaling=0.3)[0].contiguous()
            for function in (ours, theirs)
        ]

    assert ours is not theirs
    return attend


PADDED = torch.tensor([[True] * 5, [False, False, True, True, True]])[:, None, None]  # (2, 1, 1, 5)


@pytest.mark.parametrize("mask", [None, PADDED, torch.zeros(PADDED.shape).masked_fill(~PADDED, -1e9)])
def test_one_query_attends_as_with_repeated_keys(both, mask):
    ours, theirs = both(1, mask)
    assert ours.shape == (2, 1, 6, 4)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mask", [None, PADDED & torch.ones(5, 5, dtype=torch.bool).tril()])
def test_many_queries_are_left_to_transformers(both, mask):
    ours, theirs = both(5, mask)
    assert torch.equal(ours, theirs)


def test_a_model_with_another_attention_is_left_alone(decoder):
    decoder.set_attn_implementation("eager")
    try:
        with grouped_attention(decoder):
            assert decoder.config._attn_implementation == "eager"
        assert decoder.config._attn_implementation == "eager"
    finally:
        decoder.set_attn_implementation("sdpa")


def test_an_error_inside_the_block_restores_the_attention(decoder):
    with pytest.raises(KeyError), grouped_attention(decoder):
        raise KeyError
    assert decoder.config._attn_implementation == "sdpa"
