import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AttentionInterface, AutoModelForCausalLM

from apo_core.kernels import attention
from apo_core.kernels.attention import quick_attention
from apo_core.kernels.linear import can_pack
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy, save_policy

bfloat16 = pytest.mark.skipif(
    not can_pack(torch.bfloat16, "cpu"), reason="this processor does not compute with bfloat16"
)


class Attention(torch.nn.Module):
    num_key_value_groups = 3


@pytest.fixture
def both(decoder):
    """Outputs of transformers' attention function and of ours, on the same inputs."""
    functions = AttentionInterface()
    theirs = functions["sdpa"]
    quick_attention(decoder)
    ours = functions[decoder.config._attn_implementation]
    decoder.set_attn_implementation("sdpa")

    def attend(queries, mask, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        query = torch.randn(2, 6, queries, 4, generator=generator, dtype=dtype)
        key, value = (torch.randn(2, 2, 5, 4, generator=generator, dtype=dtype) for _ in range(2))
        return [
            function(Attention(), query, key, value, mask, scaling=0.3)[0].contiguous()
            for function in (ours, theirs)
        ]

    assert ours is not theirs
    return attend


PADDED = torch.tensor([[True] * 5, [False, False, True, True, True]])[:, None, None]  # (2, 1, 1, 5)
CAUSAL = PADDED & torch.ones(5, 5, dtype=torch.bool).tril()


@pytest.mark.parametrize("mask", [None, PADDED, torch.zeros(PADDED.shape).masked_fill(~PADDED, -1e9)])
def test_one_query_attends_as_with_repeated_keys(both, mask):
    ours, theirs = both(1, mask)
    assert ours.shape == (2, 1, 6, 4)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_many_queries_are_left_to_transformers(both, mask):
    ours, theirs = both(5, mask)
    assert torch.equal(ours, theirs)


@bfloat16
@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_many_bfloat16_queries_attend_by_products(both, mask, monkeypatch):
    taken = []
    products = attention.attention_by_products
    monkeypatch.setattr(
        attention, "attention_by_products", lambda *inputs: taken.append(inputs) or products(*inputs)
    )
    ours, theirs = both(5, mask, torch.bfloat16)
    assert len(taken) == 1
    if mask is not None:  # a position that attends to nothing is padding: nobody reads it
        seen = mask.any(-1)[:, 0, :, None, None]
        ours, theirs = ours * seen, torch.where(seen, theirs, 0)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.02)


@bfloat16
def test_a_layer_that_is_not_causal_is_left_to_transformers(decoder):
    quick_attention(decoder)
    attend = AttentionInterface()[decoder.config._attn_implementation]
    decoder.set_attn_implementation("sdpa")
    layer = Attention()
    layer.is_causal = False
    query, key, value = (torch.randn(1, heads, 3, 4, dtype=torch.bfloat16) for heads in (6, 2, 2))
    first = attend(layer, query, key, value, None)[0][:, 0]
    changed = attend(layer, query, key.flip(2), value.flip(2), None)[0][:, 0]
    torch.testing.assert_close(first, changed)  # attends to all keys, not only to the one before


@pytest.mark.parametrize(
    ("device", "dtype", "heads", "copied"),
    [
        ("cuda", torch.float32, 6, True),
        ("cuda", torch.float32, 2, False),
        ("cuda", torch.bfloat16, 6, False),
        ("cpu", torch.float32, 6, False),
    ],
)
def test_shared_keys_are_copied_for_the_one_kernel_that_does_not_take_them(device, dtype, heads, copied):
    with FakeTensorMode():
        query, key = (torch.empty(1, count, 5, 4, dtype=dtype, device=device) for count in (heads, 2))
        assert attention._needs_copies(Attention(), query, key, None) is copied
        mask = torch.empty(1, 1, 5, 5, dtype=torch.bool, device=device)
        assert not attention._needs_copies(Attention(), query, key, mask)  # transformers copies them then


def test_causal_attention_with_copies_is_that_of_transformers(both, monkeypatch):
    monkeypatch.setattr(attention, "_needs_copies", lambda *_: True)
    ours, theirs = both(5, None)
    torch.testing.assert_close(ours, theirs)


def test_a_model_with_another_attention_is_left_alone(decoder):
    decoder.set_attn_implementation("eager")
    try:
        quick_attention(decoder)
        assert decoder.config._attn_implementation == "eager"
    finally:
        decoder.set_attn_implementation("sdpa")


def test_others_who_load_a_saved_model_choose_their_own_attention(saved_decoder, tokenizer, tmp_path):
    model = load_policy(ModelRef(path=saved_decoder, dtype="float32"))
    quick_attention(model)
    save_policy(model, tokenizer, tmp_path / "saved")
    assert "attn_implementation" not in (tmp_path / "saved" / "config.json").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert loaded.config._attn_implementation == "sdpa"
