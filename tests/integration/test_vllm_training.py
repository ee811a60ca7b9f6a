"""Training with vLLM: each step samples from the current policy; an engine with old weights is an error."""

from importlib.util import find_spec

import pytest
import torch

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, save_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import add_adapters, merged
from apo_core.sampling import TransformersSampler
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.engine import start_engine
from apo_core.training.policy_copy import whole_weights
from apo_core.training.synchronised_vllm import SynchronisedVllm

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


@pytest.fixture(scope="module")
def vllm(tokenizer, tmp_path_factory):
    """An engine of the model's architecture, without weights."""
    directory = tmp_path_factory.mktemp("shape") / "model"
    model = decoder(tokenizer, seed=0)
    save_policy(model, tokenizer, directory)
    with VllmProcess(
        ModelRef(path=directory, dtype="float32"),
        gpu=None,
        eos_ids=end_ids(model, tokenizer),
        max_length=64,
        with_weights=False,
        **ENGINE_ARGUMENTS,
    ) as engine:
        yield engine


def synchronised(tokenizer, vllm, policy):
    engine = start_engine(
        ResponseLogProbs(policy, temperature=1.0),
        learning_rate=1e-3,
        adam_betas=(0.9, 0.95),
        weight_decay=0.0,
        max_grad_norm=1.0,
        dtype="float32",
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


def test_the_engine_samples_with_the_adapters_merged(tokenizer, vllm):
    policy = decoder(tokenizer, seed=2)
    adapters = add_adapters(policy, rank=4, alpha=64.0, seed=0)
    sampler = synchronised(tokenizer, vllm, policy)
    without = greedy(sampler, tokenizer)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    adapted = greedy(sampler, tokenizer)
    assert adapted == by_transformers(policy, tokenizer)
    assert adapted != without
    handed_over = whole_weights(policy)
    plain = merged(adapters).state_dict()
    assert handed_over.keys() == plain.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(handed_over[name], weight)


def test_an_engine_that_keeps_its_old_weights_is_an_error(tokenizer, vllm, monkeypatch):
    policy = decoder(tokenizer, seed=3)
    sampler = synchronised(tokenizer, vllm, policy)
    sampler.synchronise()
    monkeypatch.setattr(vllm, "load_weights", lambda weights: None)
    sampler.synchronise()  # nothing has changed
    with torch.no_grad():
        policy.model.layers[1].mlp.down_proj.weight.mul_(1.5)
    with pytest.raises(ApoError, match="has not taken the weights over"):
        greedy(sampler, tokenizer)
