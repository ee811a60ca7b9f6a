"""Rows that are padded on the right need no mask: the log-probs that count are the same, to the bit.

So are the gradients, except where query heads share keys: without a mask these are not copied, and what comes
back from each copy is added in another order.
"""

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from apo_core.model.acceleration import accelerate
from apo_core.model.causality import is_causal
from apo_core.model.critic import Critic
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses

SIZES = {"vocab_size": 31, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 1}
WINDOWED = {"sliding_window": 5, "layer_types": ["full_attention", "sliding_attention"]}
# Grouped keys, windows, and every kind of position: rotary, learned, counted from the mask, ALiBi.
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "qwen2 with windows": lambda: Qwen2ForCausalLM(
        Qwen2Config(**GROUPED, use_sliding_window=True, **WINDOWED)
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=5)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GROUPED, head_dim=8, **WINDOWED)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=31, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    ),
    "opt": lambda: OPTForCausalLM(OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=31, hidden_size=32, n_layer=2, n_head=4)),
}


def batch_of(seed):
    generator = torch.Generator().manual_seed(seed)

    def tokens(count):
        return torch.randint(2, 31, (count,), generator=generator).tolist()

    lengths = [(3, 21), (9, 2), (1, 12), (6, 1)]
    return pad_responses([tokens(prompt) for prompt, _ in lengths], [tokens(rest) for _, rest in lengths], 0)


def outcome(model, log_probs, batch):
    """Log-probs, and the gradients of their sum."""
    model.zero_grad()
    answer = log_probs(*batch.inputs)
    (answer * torch.arange(1.0, len(answer) + 1)[:, None]).sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    return answer.detach(), gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_without_a_mask_nothing_that_counts_changes(name, dtype):
    torch.manual_seed(0)
    model = MODELS[name]().to(dtype).eval()
    with torch.no_grad():  # as initialised, tokens hardly depend on those before them
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(5)
    accelerate(model)
    log_probs, batch = ResponseLogProbs(model, temperature=1.0), batch_of(0)
    assert log_probs.is_causal
    unmasked, gradients = outcome(model, log_probs, batch)
    log_probs.is_causal = False
    masked, expected = outcome(model, log_probs, batch)
    assert torch.equal(unmasked, masked)
    heads = getattr(model.config, "num_key_value_heads", None)
    if heads in (None, model.config.num_attention_heads):
        assert all(map(torch.equal, gradients, expected))
    rounding = 2e-6 if dtype == torch.float32 else 0.03
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=rounding * float(theirs.abs().max()))


def test_the_model_is_called_without_a_mask():
    model = MODELS["llama"]()
    seen = []
    model.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["attention_mask"]), with_kwargs=True
    )
    batch = batch_of(1)
    ResponseLogProbs(model, temperature=1.0)(*batch.inputs)
    Critic(model)(*batch.inputs)
    assert seen == [None, None]


def test_a_model_that_looks_ahead_is_given_the_mask():
    bidirectional = Gemma3TextConfig(**GROUPED, head_dim=8, use_bidirectional_attention=True)
    declared = LlamaConfig(**GROUPED)
    declared.is_causal = False
    for model in (Gemma3ForCausalLM(bidirectional), LlamaForCausalLM(declared)):
        assert not is_causal(model)
        log_probs, batch = ResponseLogProbs(model, temperature=1.0), batch_of(2)
        with torch.no_grad():
            expected = log_probs(*batch.inputs)
            other = batch.token_ids.masked_fill(~batch.attended, 7)  # what padding is filled with
            assert torch.equal(log_probs(other, batch.attended, batch.mask), expected)


def test_language_models_of_the_usual_kinds_are_causal():
    assert all(is_causal(make()) for make in MODELS.values())
