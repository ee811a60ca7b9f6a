import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from apo_core.sampling import Response, TransformersSampler
from apo_core.sampling.base import uniforms

PROMPTS = [[3, 4, 14], [5, 6, 7, 8, 9, 14], [10, 14], [11, 12, 13, 3, 14], [4], [8, 8, 14]]
KEYS = [f"stage/{row}" for row in range(len(PROMPTS))]


@pytest.fixture(scope="module")
def absolute():
    """A GPT-2, which learns absolute positions: padding that shifted a prompt would change its logits."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=17, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(15)
    return model


def of_family(config_class, model_class, **options):
    """A model with six query heads that share two key-value heads, as in most models."""
    torch.manual_seed(0)
    config = config_class(
        vocab_size=17,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=1,
        **options,
    )
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(15)
            else:  # biases are 0 and norms 1 as initialised
                parameter.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def grouped():
    return of_family(LlamaConfig, LlamaForCausalLM)


@pytest.fixture(scope="module")
def biased():
    """A model whose query, key and value projections have biases."""
    return of_family(Qwen2Config, Qwen2ForCausalLM)


@pytest.fixture(scope="module")
def windowed():
    """A model with sliding-window attention over three tokens."""
    layers = ["full_attention", "sliding_attention"]
    return of_family(
        Qwen2Config, Qwen2ForCausalLM, use_sliding_window=True, sliding_window=3, layer_types=layers
    )


@pytest.fixture(params=["llama", "gpt2", "grouped", "biased", "windowed"])
def model(request, decoder, absolute, grouped, biased, windowed):
    kinds = {"llama": decoder, "gpt2": absolute, "grouped": grouped, "biased": biased, "windowed": windowed}
    return kinds[request.param]


def sampler(model, *, eos_ids=frozenset({1}), batch_size=4):
    return TransformersSampler(model, eos_ids=set(eos_ids), pad_id=0, batch_size=batch_size)


def sample_responses(model, prompts=PROMPTS, keys=KEYS, *, max_new_tokens=20, temperature=1.0, **options):
    return sampler(model, **options).generate(
        prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
    )


def cut(token_ids, eos_ids):
    """The tokens up to and including the first end token."""
    ends = [position for position, token in enumerate(token_ids) if token in eos_ids]
    return token_ids[: ends[0] + 1] if ends else token_ids


@torch.no_grad()
def one_by_one(model, prompt, key, *, max_new_tokens, temperature, eos_ids=(1,)):
    """Sample one response without a batch, padding or a cache."""
    token_ids = list(prompt)
    for number in uniforms([key], max_new_tokens)[0]:
        logits = model(torch.tensor([token_ids])).logits[0, -1].double()
        cumulative = (logits / temperature).softmax(-1).cumsum(-1).tolist()
        token_ids.append(next(token for token, share in enumerate(cumulative) if share > number))
        if token_ids[-1] in eos_ids:
            break
    return token_ids[len(prompt) :]


def test_greedy_tokens_equal_those_of_transformers(model):
    # Two ends, so that rows leave the batch at different steps.
    eos_ids = {1, 9}
    width = max(map(len, PROMPTS))
    theirs = model.generate(
        input_ids=torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS]),
        attention_mask=torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS]),
        do_sample=False,
        max_new_tokens=20,
        eos_token_id=sorted(eos_ids),
        pad_token_id=0,
    )
    ours = sample_responses(model, keys=None, eos_ids=eos_ids)
    assert [row.token_ids for row in ours] == [cut(row, eos_ids) for row in theirs[:, width:].tolist()]
    assert len({tuple(row.token_ids) for row in ours}) > 1


def test_greedy_and_sampled_rows_of_one_call_are_those_of_two(model):
    """Batches too: their sizes decide how logits are rounded."""
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    keys = [None if row % 3 == 0 else f"stage/{row}" for row in range(len(prompts))]
    mixed = sample_responses(model, prompts, keys)
    greedy = sample_responses(model, PROMPTS, None)
    assert mixed[::3] == greedy
    sampled = [row for row in range(len(prompts)) if row % 3]
    by_themselves = sample_responses(model, [prompts[row] for row in sampled], [keys[row] for row in sampled])
    assert [mixed[row] for row in sampled] == by_themselves
    assert greedy != mixed[1::3]


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_tokens_equal_those_drawn_alone_without_a_cache(model, temperature):
    expected = [
        one_by_one(model, prompt, key, max_new_tokens=20, temperature=temperature)
        for prompt, key in zip(PROMPTS, KEYS, strict=True)
    ]
    assert [row.token_ids for row in sample_responses(model, temperature=temperature)] == expected


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 100])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 4, 2], [2, 0]])
def test_a_rows_tokens_depend_on_its_prompt_and_key_alone(model, order, batch_size):
    whole = sample_responses(model)
    part = sample_responses(
        model, [PROMPTS[i] for i in order], [KEYS[i] for i in order], batch_size=batch_size
    )
    assert part == [whole[i] for i in order]


def test_equal_prompts_are_read_once_and_answered_apart(model):
    prompts = [PROMPTS[row] for row in (0, 3, 5, 0, 3, 0)]
    read = []
    hook = model.register_forward_pre_hook(
        lambda _, __, inputs: read.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    try:
        together = sample_responses(model, prompts, batch_size=6)
    finally:
        hook.remove()
    assert read[0] == (3, 5)
    assert all(width == 1 for _, width in read[1:])
    assert [row.token_ids for row in together] == [
        one_by_one(model, prompt, key, max_new_tokens=20, temperature=1.0)
        for prompt, key in zip(prompts, KEYS, strict=True)
    ]
    assert len({tuple(together[row].token_ids) for row in (0, 3, 5)}) > 1


def test_responses_longer_than_the_caches_room_are_right(grouped):
    prompts, keys = PROMPTS[:2], KEYS[:2]
    long = sample_responses(grouped, prompts, keys, eos_ids=(), max_new_tokens=150)
    assert [row.token_ids for row in long] == [
        one_by_one(grouped, prompt, key, max_new_tokens=150, temperature=1.0, eos_ids=())
        for prompt, key in zip(prompts, keys, strict=True)
    ]


def test_another_key_draws_other_tokens(decoder):
    drawn = sample_responses(decoder, [PROMPTS[0]] * 20, [f"other/{row}" for row in range(20)])
    assert len({tuple(row.token_ids) for row in drawn}) > 15


def test_a_shorter_limit_cuts_the_same_response(decoder):
    long, short = sample_responses(decoder), sample_responses(decoder, max_new_tokens=3)
    assert [row.token_ids for row in short] == [row.token_ids[:3] for row in long]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_are_drawn_as_often_as_the_softmax_says(decoder, temperature):
    count = 3000
    prompt = PROMPTS[1]
    drawn = sample_responses(
        decoder,
        [prompt] * count,
        [f"frequency/{row}" for row in range(count)],
        max_new_tokens=1,
        temperature=temperature,
        batch_size=count,
    )
    with torch.no_grad():
        logits = decoder(torch.tensor([prompt])).logits[0, -1].double()
    token_counts = np.bincount([row.token_ids[0] for row in drawn], minlength=17)

    def likelihood(assumed):
        expected = (logits / assumed).softmax(-1).numpy() * count
        common = expected >= 5  # a chi-square test needs that many
        share = token_counts[common].sum() / expected[common].sum()
        assert share == pytest.approx(1, abs=0.01)
        return chisquare(token_counts[common], expected[common] * share).pvalue

    assert likelihood(temperature) > 0.01
    assert likelihood(temperature * 1.3) < 1e-6


def test_the_end_is_kept_and_named(decoder):
    responses = sample_responses(
        decoder, PROMPTS * 10, [f"ends/{row}" for row in range(60)], max_new_tokens=8
    )
    reasons = {reason: [r for r in responses if r.finish_reason == reason] for reason in ("stop", "length")}
    assert len(reasons["stop"]) > 5
    assert len(reasons["length"]) > 5
    assert all(r.token_ids[-1] == 1 and 1 not in r.token_ids[:-1] for r in reasons["stop"])
    assert all(len(r.token_ids) == 8 and 1 not in r.token_ids for r in reasons["length"])


def test_an_end_at_the_last_allowed_token_is_a_stop(decoder):
    ended = next(r for r in sample_responses(decoder) if r.finish_reason == "stop" and len(r.token_ids) > 1)
    row = sample_responses(decoder).index(ended)
    assert sample_responses(decoder, [PROMPTS[row]], [KEYS[row]], max_new_tokens=len(ended.token_ids)) == [
        ended
    ]
    assert sample_responses(
        decoder, [PROMPTS[row]], [KEYS[row]], max_new_tokens=len(ended.token_ids) - 1
    ) == [Response(ended.token_ids[:-1], "length")]


def test_any_of_two_ends_stops(decoder):
    with_one_end = sample_responses(decoder, PROMPTS * 5, [f"two/{row}" for row in range(30)])
    with_two_ends = sample_responses(
        decoder, PROMPTS * 5, [f"two/{row}" for row in range(30)], eos_ids={1, 7}
    )
    assert [r.token_ids for r in with_two_ends] == [cut(r.token_ids, {1, 7}) for r in with_one_end]
    assert {r.token_ids[-1] for r in with_two_ends if r.finish_reason == "stop"} == {1, 7}


def test_no_prompts_give_no_responses(decoder):
    assert sample_responses(decoder, [], []) == []
    assert sample_responses(decoder, [], None) == []


def test_uniform_numbers_are_a_function_of_the_key():
    numbers = uniforms(["a", "b", "a"], 5)
    assert numbers.shape == (3, 5)
    assert (numbers[0] == numbers[2]).all()
    assert (numbers[0] != numbers[1]).all()
    assert (uniforms(["a"], 3)[0] == numbers[0, :3]).all()


def test_uniform_numbers_are_uniform_and_unrelated_between_keys():
    numbers = uniforms([f"key/{row}" for row in range(500)], 20)
    assert 0 <= numbers.min() <= numbers.max() < 1
    assert kstest(numbers.ravel(), "uniform").pvalue > 0.01
    # Neighbouring keys: the correlation of 10 000 pairs has a standard deviation of 0.01.
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 4 / math.sqrt(numbers.size)
