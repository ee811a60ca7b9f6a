"""A rehearsal of what runs do with a model, on tiny models of several architectures."""

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from apo_core.errors import ApoError
from apo_core.model.acceleration import accelerate
from apo_core.training.rehearsal import probe_logits, rehearse

SIZE = {
    "vocab_size": 17,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
SHAPES = {
    "llama": SIZE,
    "qwen2": SIZE | {"tie_word_embeddings": True},
    "qwen3": SIZE,
    "mistral": SIZE | {"sliding_window": 4},
    "phi3": SIZE | {"pad_token_id": 0},
    "gpt_neox": SIZE,
    "gpt2": {"vocab_size": 17, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "bloom": {"vocab_size": 17, "hidden_size": 16, "n_layer": 2, "n_head": 2},
    "gemma3_text": SIZE | {"sliding_window": 4},
    "mixtral": SIZE | {"num_local_experts": 2},
}


def model_of(kind, **changes):
    config = CONFIG_MAPPING[kind](**SHAPES[kind] | {"bos_token_id": None, "eos_token_id": 1} | changes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # as initialised, logits hardly depend on the context
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("kernels", [True, False], ids=["with kernels", "plain"])
def test_usual_architectures_pass(kind, kernels, tokenizer):
    model = model_of(kind)
    if kernels:
        accelerate(model)
    rehearse(model, tokenizer)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes(dtype, tokenizer):
    rehearse(model_of("llama").to(dtype), tokenizer)


def test_the_tiny_decoder_passes(decoder, tokenizer):
    rehearse(decoder, tokenizer)
    assert probe_logits(decoder, tokenizer).shape[-1] == 17


def test_logits_that_are_capped_after_the_head_are_noticed(tokenizer):
    model = model_of("llama")

    def cap(module, args, output):
        output.logits = output.logits.tanh() * 2
        return output

    model.register_forward_hook(cap)
    with pytest.raises(ApoError, match=r"log-probs of padded rows are off by .*, expected at most 0\.01"):
        rehearse(model, tokenizer)


def test_a_cache_that_loses_something_is_noticed(tokenizer):
    model = model_of("llama")

    def lose(module, args, kwargs):
        if kwargs.get("past_key_values") is not None and kwargs["input_ids"].shape[1] == 1:
            for layer in kwargs["past_key_values"].layers:
                layer.values.mul_(-20)

    model.register_forward_pre_hook(lose, with_kwargs=True)
    with pytest.raises(ApoError, match="samples other tokens with its cache of keys and values"):
        rehearse(model, tokenizer)


def test_a_model_that_does_not_read_padding_as_such_is_noticed(tokenizer):
    model = model_of("llama")

    def read_all(module, args, kwargs):
        return args, kwargs | {"attention_mask": None}

    model.model.register_forward_pre_hook(read_all, with_kwargs=True)
    with pytest.raises(ApoError):
        rehearse(model, tokenizer)


def test_what_its_code_raises_is_one_line(tokenizer):
    model = model_of("llama")

    def fail(*_):
        raise AttributeError("no such attribute\nin many lines")

    model.register_forward_pre_hook(fail)
    with pytest.raises(ApoError) as refused:
        rehearse(model, tokenizer)
    assert str(refused.value) == "the model cannot be sampled from: AttributeError: no such attribute"


def test_a_lack_of_memory_is_no_fault_of_the_model(tokenizer):
    model = model_of("llama")

    def fail(*_):
        raise torch.OutOfMemoryError

    model.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        rehearse(model, tokenizer)


def test_a_gradient_that_does_not_come_through_is_noticed(tokenizer):
    model = model_of("llama")
    model.model.norm.register_forward_hook(lambda module, args, output: output * 0 + output.detach())
    with pytest.raises(ApoError, match="gradient of its input embedding is zero or not finite"):
        rehearse(model, tokenizer)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_fewer_positions_than_its_texts_have_are_respected(kind, tokenizer):
    few = {"gpt2": {"n_positions": 8}, "llama": {"max_position_embeddings": 8}}
    rehearse(model_of(kind, **few[kind]), tokenizer)


def test_weights_that_are_no_numbers_are_refused(tokenizer):
    model = model_of("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(ApoError, match="not finite"):
        rehearse(model, tokenizer)
