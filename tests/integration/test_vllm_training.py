"""Training with vLLM: each step samples from the current policy; an engine with old weights is an error."""

import resource
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from builders import Failing, training_set

from apo_core.algorithms import Apo
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError, PolicyCollapse
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, save_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import add_adapters
from apo_core.model.micro_batch import at_tokens, pad_responses
from apo_core.model.template import Template
from apo_core.sampling import TransformersSampler
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.canary import policy_log_probs
from apo_core.training.context import TrainingContext
from apo_core.training.engine import start_engine
from apo_core.training.guard import Guard
from apo_core.training.mismatch import MAX_SAMPLER_KL, log_ratios, mismatch_metrics
from apo_core.training.step import run_step
from apo_core.training.synchronised_vllm import SynchronisedVllm
from apo_core.verifiers import ErrorBudget

pytestmark = [
    pytest.mark.before_trainings,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs its CPU build"
    ),
]
ENGINE_ARGUMENTS = {
    "max_num_seqs": 8,
    "gpu_memory_utilization": 0.3,
    "kv_cache_gib": 0.25,
    "tensor_parallel_size": 1,
    "enforce_eager": True,
}


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


def decoder(tokenizer, seed):
    model = tiny_decoder(tokenizer, hidden_size=64, layers=2, heads=2, seed=seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)  # or its responses would hardly depend on the prompt
    return model


def engine_of(directory, model, tokenizer, *, dtype="float32", lora_rank=4):
    """Start an engine of a model's architecture, without weights."""
    save_policy(model, tokenizer, directory)
    return VllmProcess(
        ModelRef(path=directory, dtype=dtype),
        gpu=None,
        lora_rank=lora_rank,
        eos_ids=end_ids(model, tokenizer),
        max_length=320,
        keep_log_probs=True,
        **ENGINE_ARGUMENTS,
    )


@pytest.fixture(scope="module")
def running(tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("shape") / "model"
    with engine_of(directory, decoder(tokenizer, seed=0), tokenizer) as engine:
        yield engine


@pytest.fixture
def adapter_vllm(running, monkeypatch):
    """An engine that takes adapters, and has nobody's weights: each test has a policy of its own."""
    monkeypatch.setattr(running, "needs_weights", True)
    return running


@pytest.fixture
def vllm(adapter_vllm, monkeypatch):
    """The same engine, which gets weights with what adapters add, as one does that knows of none."""
    monkeypatch.setattr(adapter_vllm, "lora_rank", None)
    return adapter_vllm


def synchronised(tokenizer, vllm, policy, dtype="float32"):
    engine = start_engine(
        ResponseLogProbs(policy, temperature=1.0),
        learning_rate=1e-3,
        adam_betas=(0.9, 0.95),
        weight_decay=0.0,
        max_grad_norm=1.0,
        dtype=dtype,
        zero_stage=0,
    )
    return SynchronisedVllm(engine, vllm, tokenizer.encode("12+34-5=7#"))


def greedy(sampler, tokenizer):
    prompts = [tokenizer.encode(text) for text in ("1+1=", "7+5-3=", "4=", "2+2+2=")]
    return [row.token_ids for row in sampler.generate(prompts, None, max_new_tokens=12, temperature=1.0)]


def by_transformers(policy, tokenizer):
    sampler = TransformersSampler(policy, eos_ids=end_ids(policy, tokenizer), pad_id=0, batch_size=4)
    return greedy(sampler, tokenizer)


def test_the_engine_samples_from_the_current_policy_at_each_step(tokenizer, vllm):
    policy = decoder(tokenizer, seed=1)
    sampler = synchronised(tokenizer, vllm, policy)
    first = greedy(sampler, tokenizer)
    assert first == by_transformers(policy, tokenizer)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(parameter.flip(0))
    second = greedy(sampler, tokenizer)
    assert second == by_transformers(policy, tokenizer)
    assert second != first


def ratios_of(policy, vllm, tokenizer, *, temperature=1.0, assumed=None):
    """Sample from vLLM; ln pi - ln q of the tokens, (B, S), and their mask."""
    prompts = [tokenizer.encode(text) for text in ("1+1=", "7+5-3=", "4=", "2+2+2=")] * 8
    keys = [f"row/{row}" for row in range(len(prompts))]
    responses = vllm.generate(prompts, keys, max_new_tokens=24, temperature=temperature)
    batch = pad_responses(prompts, [response.token_ids for response in responses], pad_id=0)
    with torch.no_grad():
        log_probs = ResponseLogProbs(policy, temperature=assumed or temperature)(*batch.inputs)
    sampled = at_tokens([response.log_probs for response in responses], batch.mask)
    return log_ratios(log_probs, sampled), batch.mask


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_log_probs_of_responses_are_the_policys_at_their_temperature(tokenizer, vllm, temperature):
    policy = decoder(tokenizer, seed=4)
    synchronised(tokenizer, vllm, policy).synchronise()
    ratios, mask = ratios_of(policy, vllm, tokenizer, temperature=temperature)
    assert mask.sum() > 150
    assert ratios[mask].abs().max() < 1e-3
    metrics = mismatch_metrics(ratios, mask)
    assert metrics["sampler_kl"].mean() < 1e-7
    assert metrics["sampler_off"].max() == 0
    ratios, mask = ratios_of(policy, vllm, tokenizer, temperature=temperature, assumed=1.2 * temperature)
    assert mismatch_metrics(ratios, mask)["sampler_kl"].mean() > 1e-3


def context_of(tokenizer, synchronised_vllm):
    """A training of the policy that vLLM samples from."""
    template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    return TrainingContext(
        engine=synchronised_vllm.engine,
        algorithm=Apo(beta2=0.0),
        reference=None,
        adapters=None,
        sampler=synchronised_vllm,
        template=template,
        scorer=Failing(),
        errors=ErrorBudget(0.9, rows=4),
        prompts=training_set(template),
        max_new_tokens=24,
        temperature=1.0,
        micro_batch_tokens=64,
        pad_id=0,
        seed=0,
    )


def test_the_guard_stops_a_training_whose_sampler_is_no_longer_the_policy(tokenizer, vllm):
    guard = Guard(
        window=1,
        batch_size=4,
        max_kl=10.0,
        max_sampler_kl=MAX_SAMPLER_KL["float32"],
        expected_reward=(0.0, 0.0),
        min_reward_share=0.0,
        min_length_share=0.0,
    )
    context = context_of(tokenizer, synchronised(tokenizer, vllm, decoder(tokenizer, seed=5)))
    for step in range(2):
        metrics = run_step(context, step, [0, 1, 2, 3])
        assert metrics["sampler_off"] == 0
        guard.observe(metrics)
    metrics = run_step(replace(context, sampler=vllm), 2, [0, 1, 2, 3])  # which has the step's before
    with pytest.raises(PolicyCollapse, match="by step 3 vLLM samples from another policy than the one"):
        guard.observe(metrics)


def test_greedy_responses_have_no_log_probs(tokenizer, vllm):
    (response,) = vllm.generate([tokenizer.encode("1+1=")], None, max_new_tokens=4, temperature=1.0)
    assert response.log_probs is None


def learn(policy, std=1.0, seed=0):
    """Give the half of each adapter that begins as zero random numbers, in the place of training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=std, generator=generator)


def test_the_engine_samples_with_the_adapters_merged(tokenizer, vllm):
    policy = decoder(tokenizer, seed=2)
    add_adapters(policy, rank=4, alpha=64.0, seed=0)
    sampler = synchronised(tokenizer, vllm, policy)
    without = greedy(sampler, tokenizer)
    learn(policy)
    adapted = greedy(sampler, tokenizer)
    assert adapted == by_transformers(policy, tokenizer)
    assert adapted != without


def test_adapters_answer_as_merged_weights_do(tokenizer, adapter_vllm, monkeypatch):
    policy = decoder(tokenizer, seed=2)
    add_adapters(policy, rank=4, alpha=64.0, seed=0)
    by_adapter = synchronised(tokenizer, adapter_vllm, policy)
    answers, without = {}, greedy(by_adapter, tokenizer)
    sent = []
    monkeypatch.setattr(adapter_vllm, "start_weights", lambda: sent.append("frozen weights"))
    learn(policy)
    answers["adapter"] = greedy(by_adapter, tokenizer), adapter_vllm.log_probs(by_adapter.canary)
    assert sent == []  # they are there
    monkeypatch.undo()
    monkeypatch.setattr(adapter_vllm, "lora_rank", None)  # now with what they add
    by_weights = synchronised(tokenizer, adapter_vllm, policy)
    answers["merged"] = greedy(by_weights, tokenizer), adapter_vllm.log_probs(by_weights.canary)
    assert answers["adapter"][0] == answers["merged"][0] == by_transformers(policy, tokenizer) != without
    assert answers["adapter"][1] == pytest.approx(answers["merged"][1], abs=2e-5)


def test_keys_and_values_of_the_adapter_before_are_not_used_again(tokenizer, adapter_vllm):
    prompt = tokenizer.encode("12+34-5=7#" * 30)  # two whole blocks of 128 that a cache would share
    policy = decoder(tokenizer, seed=2)
    add_adapters(policy, rank=4, alpha=64.0, seed=0)
    sampler = synchronised(tokenizer, adapter_vllm, policy)
    for seed in range(3):
        learn(policy, seed=seed)
        sampler.synchronise()
        expected = policy_log_probs(policy, prompt)
        for _ in range(2):  # the second time from the cache
            sampler.vllm.generate([prompt], None, max_new_tokens=4, temperature=1.0)
        assert sampler.vllm.log_probs(prompt) == pytest.approx(expected, abs=1e-3)
        (ours,) = sampler.vllm.generate([prompt], None, max_new_tokens=8, temperature=1.0)
        theirs = TransformersSampler(policy, eos_ids=end_ids(policy, tokenizer), pad_id=0, batch_size=4)
        assert [ours] == theirs.generate([prompt], None, max_new_tokens=8, temperature=1.0)


def test_an_engine_that_keeps_its_old_weights_is_an_error(tokenizer, vllm, monkeypatch):
    policy = decoder(tokenizer, seed=3)
    sampler = synchronised(tokenizer, vllm, policy)
    sampler.synchronise()
    monkeypatch.setattr(vllm, "load_weights", lambda update: None)
    sampler.synchronise()  # nothing has changed
    with torch.no_grad():
        policy.model.layers[1].mlp.down_proj.weight.mul_(1.5)
    with pytest.raises(ApoError, match="has not taken the weights over"):
        greedy(sampler, tokenizer)


def test_an_adapter_for_a_layer_that_vllm_has_none_for_is_one_line(tokenizer, adapter_vllm, monkeypatch):
    """The engine ends with it, so this comes last but one."""
    policy = decoder(tokenizer, seed=3)
    add_adapters(policy, rank=4, alpha=64.0, seed=0)
    sampler = synchronised(tokenizer, adapter_vllm, policy)
    sampler.synchronise()
    hand_over = adapter_vllm.load_adapter

    def renamed(update):
        hand_over(update | {"names": [name.replace("o_proj", "other") for name in update["names"]]})

    monkeypatch.setattr(adapter_vllm, "load_adapter", renamed)
    with pytest.raises(ApoError, match=r"^train\.lora: vLLM has no adapters for model\.layers\.0\S*other of"):
        sampler.synchronise()


def test_what_cannot_be_sent_is_one_line(adapter_vllm, monkeypatch):
    """No descriptor is left for the buffer; awaiting an answer would take for ever."""
    monkeypatch.setattr(adapter_vllm, "_host", None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(ApoError) as refused, adapter_vllm.buffer(1000):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(refused.value) == "train.sampler: nothing can be sent to vLLM: Too many open files"
