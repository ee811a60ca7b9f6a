"""vLLM's engine compared with the transformers sampler, on one small decoder."""

import json
import os
from importlib.util import find_spec

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy, save_policy, saved_end_ids
from apo_core.sampling import TransformersSampler, VllmSampler

pytestmark = [
    pytest.mark.before_trainings,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs its CPU build"
    ),
]

EOS = 1
ENGINE_ARGUMENTS = {
    "eos_ids": {EOS},
    "max_length": 400,
    "max_num_seqs": 64,
    "gpu_memory_utilization": 0.5,
    "kv_cache_gib": 0.25,
    "tensor_parallel_size": 1,
    "enforce_eager": True,
}
_random = np.random.default_rng(0)
PROMPTS = [_random.integers(3, 17, size=size).tolist() for size in _random.integers(1, 40, size=60)]


def save_decoder(directory, *, heads):
    """Save a decoder of width 64; attention heads of 32 are the smallest that vLLM computes on CPU."""
    tokenizer = character_tokenizer()
    model = tiny_decoder(tokenizer, hidden_size=64, layers=2, heads=heads, seed=0)
    with torch.no_grad():
        # With their initial weights, the logits hardly depend on the context.
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    save_policy(model, tokenizer, directory, max_new_tokens=9)
    # What a chat model's authors may have set: no sampler may read it.
    file = directory / "generation_config.json"
    changed = {"top_k": 2, "temperature": 0.1, "repetition_penalty": 1.5, "eos_token_id": [EOS]}
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("vllm") / "model", heads=2)


@pytest.fixture(scope="module")
def model(directory):
    return load_policy(ModelRef(path=directory, dtype="float32"))


@pytest.fixture(scope="module")
def vllm(directory):
    with VllmSampler(ModelRef(path=directory, dtype="float32"), **ENGINE_ARGUMENTS) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def transformers(model):
    return TransformersSampler(model, eos_ids={EOS}, pad_id=0, batch_size=256)


def sample(sampler, prompts=PROMPTS, name="row", *, max_new_tokens=40, temperature=1.0):
    keys = name and [f"{name}/{row}" for row in range(len(prompts))]
    return sampler.generate(prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature)


def test_greedy_responses_are_those_of_transformers(vllm, transformers):
    expected = sample(transformers, name=None)
    assert sample(vllm, name=None) == expected
    assert len({tuple(response.token_ids) for response in expected}) > 30
    assert {response.finish_reason for response in expected} == {"stop", "length"}


def test_log_probs_are_kept_for_training_only(vllm):
    assert {response.log_probs for response in sample(vllm)} == {None}


def counts(responses, width=18):
    """Count each pair of first and second token, a missing second one included: (width * width,)."""
    pairs = [(response.token_ids[0], (response.token_ids[1:] or [17])[0]) for response in responses]
    return np.bincount([first * width + second for first, second in pairs], minlength=width * width)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_pairs_of_tokens_are_sampled_as_often_as_by_transformers(vllm, transformers, temperature):
    prompts = [PROMPTS[7]] * 6000
    theirs = counts(sample(transformers, prompts, "theirs", max_new_tokens=2, temperature=temperature))

    def likelihood(assumed):
        ours = counts(sample(vllm, prompts, "ours", max_new_tokens=2, temperature=assumed))
        common = ours + theirs >= 10  # a chi-square test needs about ten observations per cell
        table = [[*row[common], row[~common].sum()] for row in (ours, theirs)]
        assert common.sum() > 10
        return chi2_contingency(np.array(table) + 0.5).pvalue

    assert likelihood(temperature) > 0.01
    assert likelihood(temperature * 1.2) < 1e-6


def test_first_tokens_are_sampled_as_often_as_the_softmax_says(vllm, model):
    count = 6000
    prompt = PROMPTS[3]
    observed = np.bincount(
        [response.token_ids[0] for response in sample(vllm, [prompt] * count, "softmax", max_new_tokens=1)],
        minlength=17,
    )
    with torch.no_grad():
        expected = model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy() * count
    common = expected >= 5
    assert common.sum() > 5
    share = observed[common].sum() / expected[common].sum()
    assert share == pytest.approx(1, abs=0.01)
    assert chisquare(observed[common], expected[common] * share).pvalue > 0.01


def test_a_response_depends_on_neither_its_batch_nor_its_order(vllm):
    whole = sample(vllm)
    assert sample(vllm) == whole
    keys = [f"row/{row}" for row in range(len(PROMPTS))]
    for chosen in ([11], [5, 2, 40], range(59, -1, -1)):
        part = vllm.generate(
            [PROMPTS[row] for row in chosen],
            [keys[row] for row in chosen],
            max_new_tokens=40,
            temperature=1.0,
        )
        assert part == [whole[row] for row in chosen]


def test_greedy_and_sampled_rows_go_into_one_queue(vllm):
    greedy, sampled = sample(vllm, name=None), sample(vllm)
    keys = [f"row/{row}" if row % 2 else None for row in range(len(PROMPTS))]
    mixed = vllm.generate(PROMPTS, keys, max_new_tokens=40, temperature=1.0)
    assert mixed == [(sampled if row % 2 else greedy)[row] for row in range(len(PROMPTS))]
    assert mixed not in (greedy, sampled)


def test_other_keys_sample_other_responses(vllm):
    responses = sample(vllm, [PROMPTS[0]] * 50)
    assert len({tuple(response.token_ids) for response in responses}) > 25
    assert sample(vllm, [PROMPTS[0]] * 50, "other") != responses


def test_the_end_is_kept_and_named(vllm):
    responses = sample(vllm, PROMPTS * 4, max_new_tokens=8)
    stopped = [response.token_ids for response in responses if response.finish_reason == "stop"]
    cut = [response.token_ids for response in responses if response.finish_reason == "length"]
    assert min(len(stopped), len(cut)) > 20
    assert all(token_ids[-1] == EOS and EOS not in token_ids[:-1] for token_ids in stopped)
    assert all(len(token_ids) == 8 and EOS not in token_ids for token_ids in cut)


def test_a_shorter_limit_cuts_the_same_responses(vllm):
    for short, long in zip(sample(vllm, max_new_tokens=3), sample(vllm), strict=True):
        assert short.token_ids == long.token_ids[:3]
        assert short.finish_reason == ("stop" if short.token_ids[-1] == EOS else "length")


def test_each_of_two_ends_stops_and_is_kept(vllm, monkeypatch):
    one_end = sample(vllm, PROMPTS * 2)
    monkeypatch.setattr(vllm, "eos_ids", {EOS, 7})
    two_ends = sample(vllm, PROMPTS * 2)
    assert {response.token_ids[-1] for response in two_ends if response.finish_reason == "stop"} == {EOS, 7}
    for first, second in zip(one_end, two_ends, strict=True):
        ends = [position for position, token in enumerate(first.token_ids) if token in (EOS, 7)]
        assert second.token_ids == (first.token_ids[: ends[0] + 1] if ends else first.token_ids)


def test_the_ends_of_a_directory_are_read_without_its_weights(directory):
    assert saved_end_ids(directory, character_tokenizer()) == {EOS}


def test_the_responses_of_one_prompt_share_its_keys_and_values(vllm, monkeypatch):
    prompt = _random.integers(3, 17, size=300).tolist()  # two whole blocks of 128, and a rest
    outputs = []
    step = vllm.engine.step
    monkeypatch.setattr(vllm.engine, "step", lambda: [outputs.append(output) or output for output in step()])
    sample(vllm, [prompt] * 8, max_new_tokens=2)
    assert sorted(output.num_cached_tokens for output in outputs) == [0] + [256] * 7


def test_no_prompts_give_no_responses(vllm):
    assert sample(vllm, []) == []


def test_no_process_can_outlive_this_one(vllm):
    # Python's own tracker may be there, of a process that a test before has started.
    children = psutil.Process().children(recursive=True)
    assert [child for child in children if "resource_tracker" not in " ".join(child.cmdline())] == []
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.parametrize(
    ("heads", "arguments", "problem"),
    [
        (4, {}, "attention heads are 16 wide, and on CPU vLLM computes 32, 64"),
        (2, {"max_length": 513}, "max_model_len (513) is greater than the derived max_model_len"),
        (2, {"tensor_parallel_size": 3}, "attention heads (2) must be divisible by tensor parallel size (3)"),
    ],
)
def test_an_unsupported_model_or_argument_is_one_line(vllm, tmp_path, heads, arguments, problem):
    with pytest.raises(ApoError) as refused:
        VllmSampler(
            ModelRef(path=save_decoder(tmp_path / "model", heads=heads), dtype="float32"),
            **ENGINE_ARGUMENTS | arguments,
        )
    text = str(refused.value)
    assert text.startswith(f"{tmp_path}/model: vLLM does not start (see its settings, sampler.vllm): ")
    assert problem in text
    assert "\n" not in text


def test_an_unknown_architecture_is_one_line(vllm, tmp_path):
    file = save_decoder(tmp_path / "model", heads=2) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": ["NoSuchForCausalLM"]}))
    with pytest.raises(ApoError, match=r"Model architectures \['NoSuchForCausalLM'\] are not supported"):
        VllmSampler(ModelRef(path=file.parent, dtype="float32"), **ENGINE_ARGUMENTS)
